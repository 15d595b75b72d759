use super::*;

const DAY: i64 = 86_400;
const START: i64 = 1_800_000_000;
const LIFETIMES: Lifetimes = Lifetimes { authority: 900 * DAY, leaf: 90 * DAY, overlap: 3600 };

fn orders() -> Cluster {
    Cluster { namespace: "shop".into(), name: "orders".into() }
}

fn pods(count: usize) -> Vec<String> {
    (0..count).map(|ordinal| format!("orders-{ordinal}")).collect()
}

fn at(kept: &Certificates, now: i64, count: usize) -> Certificates {
    let (cluster, pods) = (orders(), pods(count));
    let subjects = Subjects { cluster: &cluster, pods: &pods, zone: "orders-peers.shop.svc.cluster.local" };
    renew(kept, subjects, now, LIFETIMES).unwrap()
}

fn authorities(certificates: &Certificates) -> usize {
    certificates.members[BUNDLE].matches("BEGIN CERTIFICATE").count()
}

fn material(certificates: &Certificates, issued: &Issued) -> Material {
    Material::read(&pem(issued, &certificates.members[BUNDLE])).unwrap()
}

/// Everybody with these files, as pairs of name and certificate.
fn everybody(certificates: &Certificates, count: usize) -> Vec<Issued> {
    let members = pods(count).into_iter().map(|pod| issued(&certificates.members, &pod).unwrap());
    members.chain(certificates.operator.clone()).collect()
}

/// Whoever still has the files of `one` and whoever has those of `other` believe each other.
fn assert_together(one: &Certificates, other: &Certificates, count: usize, now: i64) {
    for (bundle, certificates) in [(one, other), (other, one)] {
        for leaf in everybody(certificates, count) {
            let judged = material(bundle, &leaf).check(now);
            assert!(judged.is_ok(), "at {now}: {:?}: {judged:?}", material(bundle, &leaf).identity());
        }
    }
}

#[test]
fn the_first_files_name_every_pod_and_the_operator_and_stay_as_they_are() {
    let first = at(&Certificates::default(), START, 3);
    let names: Vec<&str> = first.members.keys().map(String::as_str).collect();
    let wanted = [
        "ca.crt",
        "orders-0.crt",
        "orders-0.key",
        "orders-1.crt",
        "orders-1.key",
        "orders-2.crt",
        "orders-2.key",
    ];
    assert_eq!(names, wanted);
    assert_eq!(first.authority.keys().collect::<Vec<_>>(), ["ca.crt", "ca.key"]);
    let named: Vec<String> =
        everybody(&first, 3).iter().map(|leaf| material(&first, leaf).identity().to_string()).collect();
    assert_eq!(named[2], "outrigger://shop/orders/member/orders-2");
    assert_eq!(named[3], "outrigger://shop/orders/operator");
    assert_together(&first, &first, 3, START);
    for later in [START, START + 1, START + 59 * DAY] {
        assert_eq!(at(&first, later, 3), first, "{later}");
    }
}

#[test]
fn a_pod_more_gets_its_own_and_a_pod_less_loses_it_and_nobody_else_notices() {
    let three = at(&Certificates::default(), START, 3);
    let five = at(&three, START + DAY, 5);
    assert!(three.members.iter().all(|(file, text)| five.members.get(file) == Some(text)));
    assert_eq!(five.members.len(), 11);
    assert_eq!(at(&five, START + 2 * DAY, 3), three);
}

#[test]
fn a_certificate_is_renewed_when_two_thirds_of_its_time_are_over() {
    let first = at(&Certificates::default(), START, 1);
    let later = at(&first, START + 61 * DAY, 1);
    assert_eq!(first.members[BUNDLE], later.members[BUNDLE]);
    assert_ne!(first.members["orders-0.crt"], later.members["orders-0.crt"]);
    assert_ne!(first.operator, later.operator);
    assert_together(&first, &later, 1, START + 61 * DAY);
}

#[test]
fn an_authority_is_replaced_step_by_step_and_neighbouring_files_always_believe_each_other() {
    let mut now = START;
    let mut present = at(&Certificates::default(), now, 3);
    let first = present.members[BUNDLE].clone();
    let mut counts = Vec::new();
    // Through two whole replacements, in steps of a third of the overlap where anything changes.
    while now < START + 1300 * DAY {
        let next = at(&present, now, 3);
        if next != present {
            assert_together(&present, &next, 3, now);
            if authorities(&next) != authorities(&present) {
                counts.push(authorities(&next));
            }
        }
        now += if authorities(&next) > 1 { LIFETIMES.overlap / 3 } else { 10 * DAY };
        present = next;
    }
    assert_eq!(counts, [2, 1, 2, 1]);
    assert!(!present.members[BUNDLE].contains(first.trim()), "the first one is forgotten");
}

#[test]
fn an_operator_that_was_away_goes_through_the_same_steps() {
    let first = at(&Certificates::default(), START, 3);
    let mut now = START + 700 * DAY;
    let believed = at(&first, now, 3);
    assert_eq!(authorities(&believed), 2);
    // Away for a month in the middle: what comes next still keeps the former one.
    now += 30 * DAY;
    let signed = at(&believed, now, 3);
    assert_eq!(
        authorities(&signed),
        2,
        "the former one is believed until the new certificates are everywhere"
    );
    assert_ne!(signed.members["orders-0.crt"], believed.members["orders-0.crt"]);
    assert_together(&believed, &signed, 3, now);
    assert_eq!(authorities(&at(&signed, now + LIFETIMES.overlap - 1, 3)), 2);
    assert_eq!(authorities(&at(&signed, now + LIFETIMES.overlap, 3)), 1);
}

#[test]
fn a_lost_authority_is_replaced_with_an_overlap_and_lost_members_files_are_made_anew() {
    let first = at(&Certificates::default(), START, 3);
    let now = START + DAY;
    let lost = Certificates { authority: Files::new(), ..first.clone() };
    let replaced = at(&lost, now, 3);
    assert_eq!(authorities(&replaced), 2);
    assert_eq!(replaced.members["orders-0.crt"], first.members["orders-0.crt"], "it is believed as before");
    assert_eq!(at(&replaced, now + 1, 3), replaced);
    let signed = at(&replaced, now + LIFETIMES.overlap, 3);
    assert_together(&replaced, &signed, 3, now + LIFETIMES.overlap);
    assert_ne!(signed.members["orders-0.crt"], first.members["orders-0.crt"]);
    assert_eq!(authorities(&at(&signed, now + 2 * LIFETIMES.overlap, 3)), 1);
    // The members' alone: the same authority signs them anew.
    let lost = Certificates { members: Files::new(), ..first.clone() };
    let again = at(&lost, now, 3);
    assert_eq!(again.authority, first.authority);
    assert_together(&first, &again, 3, now);
}

#[test]
fn what_was_edited_by_hand_is_made_good() {
    let first = at(&Certificates::default(), START, 3);
    let mut other = at(&Certificates::default(), START, 3);
    let edits: [(&str, String); 4] = [
        ("orders-0.crt", "garbage".into()),
        ("orders-0.key", other.members["orders-0.key"].clone()),
        ("orders-0.crt", first.members["orders-1.crt"].clone()),
        (BUNDLE, String::new()),
    ];
    for (file, text) in edits {
        let mut edited = first.clone();
        edited.members.insert(file.to_owned(), text);
        let made_good = at(&edited, START, 3);
        assert_together(&made_good, &first, 3, START);
        assert_eq!(made_good.members["orders-2.crt"], first.members["orders-2.crt"]);
    }
    // An authority with another's key signs nothing: it is as good as lost.
    other.authority.insert("ca.crt".into(), first.authority["ca.crt"].clone());
    let edited = Certificates { authority: other.authority, ..first.clone() };
    assert_eq!(authorities(&at(&edited, START, 3)), 2);
    assert_together(&at(&edited, START, 3), &first, 3, START);
}
