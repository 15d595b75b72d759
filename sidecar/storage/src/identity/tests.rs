//! Whose directory it is, after every crash.

use super::*;
use crate::testing::*;

const FIRST: MemberId = MemberId(11);
const SECOND: MemberId = MemberId(22);

fn open_as(fs: &SimFs, fresh: MemberId) -> Result<DataDir, IdentityError> {
    DataDir::open(fs.shared(), &data_dir(), fresh)
}

fn put(fs: &SimFs, path: &Path) {
    let file = fs.create(path).unwrap();
    file.write_at(b"something", 0).unwrap();
    file.sync_all().unwrap();
    fs.sync_dir(path.parent().unwrap()).unwrap();
}

/// A member of the cluster with a log and a snapshot.
fn member() -> SimFs {
    let fs = SimFs::new();
    let mut dir = open_as(&fs, FIRST).unwrap();
    for folder in ["wal", "snap"] {
        fs.create_dir(&data_dir().join(folder)).unwrap();
    }
    put(&fs, &segment_path(1));
    put(&fs, &data_dir().join("snap/snap"));
    dir.set_cluster(CLUSTER).unwrap();
    dir.set_address("a-0", "a-0.a:2380", 0).unwrap();
    drop(dir);
    fs.copy()
}

#[test]
fn an_empty_disk_takes_the_new_id_and_keeps_it() {
    let fs = SimFs::new();
    let dir = open_as(&fs, FIRST).unwrap();
    assert_eq!((dir.identity().member, dir.identity().cluster, dir.identity().boot), (FIRST, None, 1));
    drop(dir);
    let fs = fs.crash(|| false);
    let mut dir = open_as(&fs, SECOND).unwrap();
    assert_eq!((dir.identity().member, dir.identity().boot), (FIRST, 2));
    dir.count_boot().unwrap();
    drop(dir);
    let next = open_as(&fs.crash(|| false), SECOND).unwrap().identity().boot;
    assert_eq!(next, 4, "after the one that was counted without opening");
}

#[test]
fn an_empty_disk_may_begin_anew_and_a_members_may_not() {
    let fs = SimFs::new();
    let mut dir = open_as(&fs, FIRST).unwrap();
    assert!(matches!(dir.begin_anew(FIRST), Err(IdentityError::ReusedId { .. })));
    dir.begin_anew(SECOND).unwrap();
    drop(dir);
    let dir = open_as(&fs.crash(|| false), FIRST).unwrap();
    assert_eq!(dir.identity().member, SECOND);
    let mut dir = open_as(&member(), FIRST).unwrap();
    assert!(matches!(dir.begin_anew(SECOND), Err(IdentityError::OtherCluster { .. })));
    assert_eq!(dir.identity().member, FIRST);
}

#[test]
fn the_boot_counter_never_repeats_however_the_opening_ends() {
    let mut fs = SimFs::new();
    let mut last = 0;
    for stop in 0..40 {
        fs.set_faults(Faults { stop_at: Some(stop % 10), ..Faults::default() });
        if let Ok(dir) = open_as(&fs, FIRST) {
            assert!(dir.identity().boot > last, "{} after {last}", dir.identity().boot);
            last = dir.identity().boot;
        }
        fs = if stop % 2 == 0 { fs.crash(|| false) } else { fs.kill() };
    }
    assert!(last > 5);
}

#[test]
fn a_directory_that_an_earlier_start_left_unsynced_is_there_after_a_power_cut() {
    let deep = data_dir().join("deep");
    let open = |fs: &SimFs, fresh| DataDir::open(fs.shared(), &deep, fresh);
    let fs = SimFs::new();
    fs.set_faults(Faults { stop_at: Some(1), ..Faults::default() });
    assert!(open(&fs, FIRST).is_err(), "it ends between making the directory and syncing its name");
    let fs = fs.kill();
    assert_eq!(open(&fs, FIRST).unwrap().identity().boot, 1);
    let dir = open(&fs.crash(|| false), SECOND).unwrap();
    assert_eq!((dir.identity().member, dir.identity().boot), (FIRST, 2));
}

#[test]
fn the_name_of_a_path_with_one_part_is_in_the_working_directory() {
    sync_parent(&*crate::fs::RealFs::shared(), Path::new("data")).unwrap();
}

#[test]
fn a_second_process_is_refused_and_told_the_directory() {
    let fs = SimFs::new();
    let first = open_as(&fs, FIRST).unwrap();
    let refused = open_as(&fs, SECOND).unwrap_err();
    assert!(matches!(refused, IdentityError::Locked { .. }));
    assert!(refused.to_string().contains("/data"), "{refused}");
    drop(first);
    assert!(open_as(&fs, SECOND).is_ok());
}

#[test]
fn the_real_disk_locks_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/data");
    let fs = crate::fs::RealFs::shared();
    let first = DataDir::open(Arc::clone(&fs), &path, FIRST).unwrap();
    let refused = DataDir::open(Arc::clone(&fs), &path, SECOND).unwrap_err();
    assert!(matches!(refused, IdentityError::Locked { .. }));
    drop(first);
    assert_eq!(DataDir::open(fs, &path, SECOND).unwrap().identity().member, FIRST);
}

#[test]
fn an_identity_flipped_or_cut_at_any_byte_is_refused() {
    let fs = member();
    let path = data_dir().join(IDENTITY);
    let whole = fs.bytes(&path);
    for at in 0..whole.len() {
        fs.patch(&path, |bytes| bytes[at] ^= 1);
        assert!(matches!(open_as(&fs, SECOND), Err(IdentityError::Damaged { .. })), "byte {at}");
        fs.patch(&path, |bytes| *bytes = whole[..at].to_vec());
        assert!(matches!(open_as(&fs, SECOND), Err(IdentityError::Damaged { .. })), "cut at {at}");
        fs.patch(&path, |bytes| *bytes = whole.clone());
    }
    assert!(open_as(&fs, SECOND).is_ok());
}

#[test]
fn a_log_without_an_identity_is_never_given_a_new_one() {
    let fs = member();
    fs.remove_file(&data_dir().join(IDENTITY)).unwrap();
    assert!(matches!(open_as(&fs, SECOND), Err(IdentityError::Lost { .. })));
}

#[test]
fn a_directory_belongs_to_one_cluster() {
    let fs = member();
    let mut dir = open_as(&fs, SECOND).unwrap();
    dir.set_cluster(CLUSTER).unwrap();
    assert!(matches!(dir.set_cluster(ClusterId(5)), Err(IdentityError::OtherCluster { found: CLUSTER, .. })));
    assert!(dir.clear_unfounded().is_err());
    assert!(fs.exists(&segment_path(1)).unwrap());
}

#[test]
fn what_a_founding_left_without_its_last_step_counts_as_empty() {
    let fs = SimFs::new();
    drop(open_as(&fs, FIRST).unwrap());
    fs.create_dir(&data_dir().join("wal")).unwrap();
    put(&fs, &segment_path(1));
    let dir = open_as(&fs.copy(), SECOND).unwrap();
    assert_eq!((dir.identity().member, dir.identity().cluster), (FIRST, None));
    let after = fs.copy();
    drop(open_as(&after, SECOND).unwrap());
    assert_eq!(segments(&after), [0; 0]);
}

#[test]
fn an_abandoned_cluster_is_refused_for_ever_even_on_an_empty_disk() {
    let fs = SimFs::new();
    let mut dir = open_as(&fs, FIRST).unwrap();
    dir.abandon(ClusterId(5), SECOND).unwrap();
    dir.abandon(ClusterId(5), SECOND).unwrap();
    assert_eq!(dir.identity().member, FIRST, "it was never in it");
    drop(dir);
    let mut dir = open_as(&fs.crash(|| false), SECOND).unwrap();
    assert_eq!(dir.identity().abandoned, [ClusterId(5)]);
    assert!(matches!(dir.set_cluster(ClusterId(5)), Err(IdentityError::Abandoned { .. })));
    dir.set_cluster(ClusterId(6)).unwrap();
}

#[test]
fn abandoning_the_own_cluster_begins_anew_under_another_id() {
    let fs = member();
    let mut dir = open_as(&fs, SECOND).unwrap();
    dir.abandon(CLUSTER, SECOND).unwrap();
    let identity = dir.identity();
    assert_eq!((identity.member, identity.cluster), (SECOND, None));
    assert_eq!(identity.abandoned, [CLUSTER]);
    assert!(fs.exists(&data_dir().join("removed-000000000000000b/wal")).unwrap());
}

#[test]
fn a_move_cut_off_anywhere_never_leaves_the_old_id_without_its_log() {
    let whole = member();
    for power_cut in [true, false] {
        for stop in 0.. {
            let fs = whole.copy();
            let mut dir = open_as(&fs, SECOND).unwrap();
            fs.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
            let moved = dir.move_aside(SECOND);
            let after = if power_cut { fs.crash(|| false) } else { fs.kill() };
            let dir = open_as(&after, SECOND).unwrap();
            let has_log = segments(&after) == [1];
            match dir.identity().member {
                FIRST => assert!(has_log && dir.identity().cluster == Some(CLUSTER), "step {stop}"),
                _ => {
                    assert!(!has_log && dir.identity().cluster.is_none(), "step {stop}");
                    let aside = dir.removed().unwrap();
                    let wal = aside[0].join("wal").join(crate::segment::file_name(MEMBER, 1));
                    assert!(after.exists(&wal).unwrap(), "step {stop}: the old log is kept");
                    assert_eq!(DataDir::load(&after, &aside[0]).unwrap().unwrap().member, FIRST);
                }
            }
            if moved.is_ok() {
                assert_eq!(dir.identity().member, SECOND);
                assert_eq!(dir.identity().address, "a-0.a:2380");
                break;
            }
        }
    }
}

#[test]
fn of_removed_folders_the_newest_are_kept_whatever_their_ids() {
    let fs = member();
    let mut dir = open_as(&fs, SECOND).unwrap();
    assert!(matches!(dir.move_aside(FIRST), Err(IdentityError::ReusedId { .. })));
    let first = dir.move_aside(SECOND).unwrap();
    drop(dir);
    // Names are no order: the ids are drawn.
    let mut dir = open_as(&fs, SECOND).unwrap();
    let second = dir.move_aside(MemberId(1)).unwrap();
    drop(dir);
    let mut dir = open_as(&fs, SECOND).unwrap();
    let third = dir.move_aside(MemberId(0xffff)).unwrap();
    assert_eq!(dir.removed().unwrap().len(), 3);
    assert_eq!(dir.reclaim(3).unwrap(), 0);
    assert_eq!(dir.reclaim(1).unwrap(), 2);
    assert_eq!(dir.removed().unwrap(), std::slice::from_ref(&third));
    assert!(!fs.exists(&first).unwrap() && !fs.exists(&second).unwrap());
    assert_eq!((dir.reclaim(0).unwrap(), dir.reclaim(0).unwrap()), (1, 0));
}

#[test]
fn the_address_version_grows_with_every_change_and_beyond_what_the_log_knows() {
    let fs = SimFs::new();
    let mut dir = open_as(&fs, FIRST).unwrap();
    let rows = [("one:1", 0, 1), ("one:1", 0, 1), ("two:1", 0, 2), ("two:1", 7, 7), ("one:1", 3, 8)];
    for (address, at_least, version) in rows {
        assert_eq!(dir.set_address("a-0", address, at_least).unwrap(), version, "{address} {at_least}");
    }
    drop(dir);
    let dir = open_as(&fs.crash(|| false), SECOND).unwrap();
    assert_eq!((dir.identity().address.as_str(), dir.identity().address_version), ("one:1", 8));
}

#[test]
fn resolved_addresses_are_kept_and_their_loss_is_harmless() {
    let fs = SimFs::new();
    let mut dir = open_as(&fs, FIRST).unwrap();
    let addresses: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    dir.set_resolved("a-0", &addresses).unwrap();
    dir.set_resolved("a-0", &[]).unwrap();
    let changes = fs.changes();
    dir.set_resolved("a-0", &addresses).unwrap();
    assert_eq!(fs.changes(), changes, "what is known is not written again");
    drop(dir);
    let fs = fs.crash(|| false);
    assert_eq!(open_as(&fs, SECOND).unwrap().resolved().get("a-0"), Some(&addresses));
    fs.patch(&data_dir().join(RESOLVED), |bytes| bytes[20] ^= 1);
    assert!(open_as(&fs, SECOND).unwrap().resolved().is_empty());
}

#[test]
fn zero_is_nobodys_id() {
    let fs = SimFs::new();
    assert!(matches!(open_as(&fs, MemberId(0)), Err(IdentityError::ZeroId)));
    let mut dir = open_as(&fs, FIRST).unwrap();
    assert!(matches!(dir.set_cluster(ClusterId(0)), Err(IdentityError::ZeroId)));
}

#[test]
fn a_start_on_a_full_disk_takes_the_little_room_it_needs_from_the_snapshots_reserve() {
    let fs = member();
    let store = crate::snapshot_store::SnapshotStore::new(fs.shared(), &data_dir(), CLUSTER);
    store.reserve(3 << 20).unwrap();
    // Not a byte is free.
    fs.set_faults(Faults { capacity: Some(3 << 20), ..Faults::default() });
    let boot = open_as(&fs, SECOND).unwrap().identity().boot;
    assert_eq!((boot, store.reserved().unwrap()), (2, 2 << 20));
}
