use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn check<T: Ord + Clone>(node: &Node<T>, is_root: bool) -> (usize, usize) {
    assert!(is_root || !node.entries.is_empty(), "only the root of an empty tree may be empty");
    assert!(node.entries.len() <= MAX_ENTRIES);
    assert!(node.entries.windows(2).all(|pair| pair[0] < pair[1]));
    if node.children.is_empty() {
        assert_eq!(node.count, node.entries.len());
        return (node.count, 1);
    }
    assert_eq!(node.children.len(), node.entries.len() + 1);
    let below: Vec<_> = node.children.iter().map(|child| check(child, false)).collect();
    assert!(below.iter().all(|(_, depth)| *depth == below[0].1), "every leaf is equally deep");
    assert_eq!(node.count, node.entries.len() + below.iter().map(|(count, _)| count).sum::<usize>());
    (node.count, below[0].1 + 1)
}

fn check_tree<T: Ord + Clone>(tree: &Tree<T>) {
    if let Some(root) = &tree.root {
        check(root, true);
    }
}

proptest! {
    #[test]
    fn tree_behaves_like_the_standard_set(ops in prop::collection::vec((any::<bool>(), 0_u16..600), 0..3000)) {
        let mut tree = Tree::default();
        let mut set = BTreeSet::new();
        for (insert, key) in ops {
            if insert {
                prop_assert_eq!(tree.insert(key).is_none(), set.insert(key));
            } else {
                prop_assert_eq!(tree.remove(|e: &u16| e.cmp(&key)).is_some(), set.remove(&key));
            }
        }
        check_tree(&tree);
        prop_assert_eq!(tree.len(), set.len());
        prop_assert!(tree.iter().eq(set.iter()));
        for key in 0..600 {
            prop_assert_eq!(tree.get(|e| e.cmp(&key)), set.get(&key));
            prop_assert_eq!(tree.rank(|e| *e < key), set.range(..key).count());
            prop_assert!(tree.iter_from(|e| *e < key).take(3).eq(set.range(key..).take(3)));
        }
    }

    #[test]
    fn clone_never_sees_a_later_write(
        first in prop::collection::vec(0_u16..400, 0..400),
        second in prop::collection::vec((any::<bool>(), 0_u16..400), 0..400),
    ) {
        let mut tree = Tree::default();
        for key in first {
            tree.insert(key);
        }
        let clone = tree.clone();
        let before: Vec<_> = clone.iter().copied().collect();
        for (insert, key) in second {
            if insert { tree.insert(key); } else { tree.remove(|e| e.cmp(&key)); }
        }
        check_tree(&tree);
        check_tree(&clone);
        prop_assert!(clone.iter().copied().eq(before));
    }
}

#[test]
fn entries_in_order_fill_their_nodes() {
    let mut tree = Tree::default();
    for key in 0..10_000_u32 {
        tree.insert(key);
    }
    check_tree(&tree);
    fn leaves<T>(node: &Node<T>) -> usize {
        if node.children.is_empty() { 1 } else { node.children.iter().map(|child| leaves(child)).sum() }
    }
    let leaves = leaves(tree.root.as_ref().unwrap());
    assert!(leaves <= 10_000 / (MAX_ENTRIES - 2), "{leaves} leaves for 10,000 entries");
}

#[test]
fn removing_everything_front_to_back_leaves_an_empty_tree() {
    let mut tree = Tree::default();
    for key in 0..5_000_u32 {
        tree.insert(key);
    }
    for key in 0..5_000_u32 {
        assert_eq!(tree.remove(|e| e.cmp(&key)), Some(key));
        if key % 97 == 0 {
            check_tree(&tree);
        }
    }
    assert_eq!(tree.len(), 0);
    assert!(tree.root.is_none());
}
