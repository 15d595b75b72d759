//! A persistent B-tree: cloning it is O(1), and a clone never sees what is written afterwards.
//!
//! The key space's views are clones of this tree, so its costs are the key space's costs: each entry is stored
//! once (a B+tree's separators would keep the values of deleted keys alive), a node's right-hand split leaves the
//! left half full (keys and revisions mostly arrive in order), and every node knows how many entries are below
//! it (a range is counted without being walked). The first write below a node that a clone shares copies that
//! node, so [`MAX_ENTRIES`] weighs the copying against the memory.
//!
//! May import: nothing of ours. Deliberately absent: keys apart from entries (an entry's `Ord` is its key), and
//! iteration backwards.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A node splits above so many entries. Measured with 100,000 rows of 256 bytes, 6 to 24: smaller nodes cost memory and depth, larger
/// ones cost a writer more reference counts to touch after each view.
const MAX_ENTRIES: usize = 12;

/// A node below so many entries after a removal is merged with a sibling, or takes an entry from it.
const MIN_ENTRIES: usize = 4;

/// An ordered set of entries. Two entries that compare equal are one: the later replaces the earlier.
#[derive(Clone)]
pub(crate) struct Tree<T> {
    root: Option<Arc<Node<T>>>,
}

#[derive(Clone)]
struct Node<T> {
    entries: Vec<T>,
    /// Empty in a leaf, else one more than `entries`.
    children: Vec<Arc<Node<T>>>,
    /// Entries here and below.
    count: usize,
}

enum Inserted<T> {
    Replaced(T),
    Fitted,
    Split(T, Arc<Node<T>>),
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<T> fmt::Debug for Tree<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("len", &self.len()).finish()
    }
}

impl<T> Tree<T> {
    /// How many entries the tree holds, in O(1).
    pub(crate) fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.count)
    }

    /// The entry that `order` (how an entry compares with what is sought) finds equal.
    pub(crate) fn get(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let mut node = self.root.as_deref();
        while let Some(here) = node {
            match here.entries.binary_search_by(&order) {
                Ok(i) => return here.entries.get(i),
                Err(i) => node = here.children.get(i).map(Arc::as_ref),
            }
        }
        None
    }

    /// The same entry to be changed in place, in anything but its order. Copies the way to it where a clone shares it.
    pub(crate) fn get_mut(&mut self, order: impl Fn(&T) -> Ordering) -> Option<&mut T>
    where
        T: Clone,
    {
        let mut node = self.root.as_mut()?;
        loop {
            let here = Arc::make_mut(node);
            match here.entries.binary_search_by(&order) {
                Ok(i) => return here.entries.get_mut(i),
                Err(i) => node = here.children.get_mut(i)?,
            }
        }
    }

    /// How many entries `is_below` holds for; it must hold for a prefix of the order.
    pub(crate) fn rank(&self, is_below: impl Fn(&T) -> bool) -> usize {
        let mut rank = 0;
        let mut node = self.root.as_deref();
        while let Some(here) = node {
            let i = here.entries.partition_point(&is_below);
            rank += i + here.children.iter().take(i).map(|child| child.count).sum::<usize>();
            node = here.children.get(i).map(Arc::as_ref);
        }
        rank
    }

    /// The entries in order, from the first that `is_below` does not hold for.
    pub(crate) fn iter_from(&self, is_below: impl Fn(&T) -> bool) -> Iter<'_, T> {
        let mut stack = Vec::new();
        let mut node = self.root.as_deref();
        while let Some(here) = node {
            let i = here.entries.partition_point(&is_below);
            stack.push((here, i));
            node = here.children.get(i).map(Arc::as_ref);
        }
        Iter { stack }
    }

    /// All entries in order.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        self.iter_from(|_| false)
    }
}

impl<T: Clone + Ord> Tree<T> {
    /// Inserts an entry, and gives back the equal one that stood before.
    pub(crate) fn insert(&mut self, entry: T) -> Option<T> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node { entries: vec![entry], children: Vec::new(), count: 1 }));
            return None;
        };
        match Node::insert(root, entry) {
            Inserted::Replaced(old) => Some(old),
            Inserted::Fitted => None,
            Inserted::Split(middle, right) => {
                let count = root.count + right.count + 1;
                let left = Arc::clone(root);
                *root = Arc::new(Node { entries: vec![middle], children: vec![left, right], count });
                None
            }
        }
    }

    /// Removes the entry that `order` finds equal.
    pub(crate) fn remove(&mut self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        // Looked up first: what is not there must not copy a path that a view shares.
        self.get(&order)?;
        let root = self.root.as_mut()?;
        let removed = Node::remove(root, &order);
        if root.entries.is_empty() {
            self.root = root.children.first().cloned();
        }
        removed
    }
}

impl<T: Clone + Ord> Node<T> {
    fn insert(this: &mut Arc<Self>, entry: T) -> Inserted<T> {
        let node = Arc::make_mut(this);
        let i = match node.entries.binary_search(&entry) {
            Ok(i) => match node.entries.get_mut(i) {
                Some(slot) => return Inserted::Replaced(std::mem::replace(slot, entry)),
                None => return Inserted::Fitted,
            },
            Err(i) => i,
        };
        match node.children.get_mut(i) {
            None => insert_tight(&mut node.entries, i, entry),
            Some(child) => match Self::insert(child, entry) {
                Inserted::Split(middle, right) => {
                    insert_tight(&mut node.entries, i, middle);
                    insert_tight(&mut node.children, i + 1, right);
                }
                Inserted::Fitted => {}
                Inserted::Replaced(old) => return Inserted::Replaced(old),
            },
        }
        node.count += 1;
        if node.entries.len() <= MAX_ENTRIES {
            return Inserted::Fitted;
        }
        let grew_at_the_end = i + 1 >= node.entries.len();
        node.split(grew_at_the_end)
    }

    /// Splits a node that has one entry too many. A node that grew at its end keeps nearly everything: with keys
    /// that arrive in order, halves would stay half empty for ever.
    fn split(&mut self, grew_at_the_end: bool) -> Inserted<T> {
        let at = if grew_at_the_end { self.entries.len() - 2 } else { self.entries.len() / 2 };
        let entries = self.entries.split_off(at + 1);
        let children = if self.children.is_empty() { Vec::new() } else { self.children.split_off(at + 1) };
        let Some(middle) = self.entries.pop() else { return Inserted::Fitted };
        self.entries.shrink_to_fit();
        self.children.shrink_to_fit();
        let right = Self::counted(entries, children);
        self.count -= right.count + 1;
        Inserted::Split(middle, Arc::new(right))
    }

    fn counted(entries: Vec<T>, children: Vec<Arc<Self>>) -> Self {
        let count = entries.len() + children.iter().map(|child| child.count).sum::<usize>();
        Self { entries, children, count }
    }

    /// Removes an entry that is known to be here or below.
    fn remove(this: &mut Arc<Self>, order: &impl Fn(&T) -> Ordering) -> Option<T> {
        let node = Arc::make_mut(this);
        let removed = match node.entries.binary_search_by(order) {
            Ok(i) => match node.children.get_mut(i) {
                None => Some(node.entries.remove(i)),
                Some(child) => {
                    let stand_in = Self::pop_last(child)?;
                    let slot = node.entries.get_mut(i)?;
                    let removed = std::mem::replace(slot, stand_in);
                    node.rebalance(i);
                    Some(removed)
                }
            },
            Err(i) => {
                let removed = Self::remove(node.children.get_mut(i)?, order);
                node.rebalance(i);
                removed
            }
        };
        node.count -= usize::from(removed.is_some());
        removed
    }

    fn pop_last(this: &mut Arc<Self>) -> Option<T> {
        let node = Arc::make_mut(this);
        let last = node.children.len().checked_sub(1);
        let popped = match last.and_then(|i| node.children.get_mut(i)) {
            None => node.entries.pop(),
            Some(child) => Self::pop_last(child),
        };
        if let Some(i) = last {
            node.rebalance(i);
        }
        node.count -= usize::from(popped.is_some());
        popped
    }

    /// Puts child `i` right after it lost an entry: merged with a sibling if both fit in one node, else the fuller
    /// sibling gives one.
    fn rebalance(&mut self, i: usize) {
        if self.children.get(i).is_none_or(|child| child.entries.len() >= MIN_ENTRIES) {
            return;
        }
        let left = i.saturating_sub(1);
        let (Some(a), Some(b)) = (self.children.get(left), self.children.get(left + 1)) else { return };
        let (a_len, b_len) = (a.entries.len(), b.entries.len());
        if a_len + b_len < MAX_ENTRIES {
            let separator = self.entries.remove(left);
            let right = Arc::unwrap_or_clone(self.children.remove(left + 1));
            if let Some(child) = self.children.get_mut(left) {
                let child = Arc::make_mut(child);
                child.count += right.count + 1;
                child.entries.push(separator);
                child.entries.extend(right.entries);
                child.children.extend(right.children);
            }
            return;
        }
        let Some([a, b]) = self.children.get_mut(left..left + 2) else { return };
        let Some(separator) = self.entries.get_mut(left) else { return };
        let (a, b) = (Arc::make_mut(a), Arc::make_mut(b));
        if a_len > b_len {
            let Some(entry) = a.entries.pop() else { return };
            b.entries.insert(0, std::mem::replace(separator, entry));
            let moved = a.children.pop();
            let below = moved.as_ref().map_or(0, |child| child.count);
            if let Some(child) = moved {
                b.children.insert(0, child);
            }
            a.count -= 1 + below;
            b.count += 1 + below;
        } else {
            let entry = b.entries.remove(0);
            a.entries.push(std::mem::replace(separator, entry));
            let mut below = 0;
            if !b.children.is_empty() {
                let child = b.children.remove(0);
                below = child.count;
                a.children.push(child);
            }
            b.count -= 1 + below;
            a.count += 1 + below;
        }
    }
}

/// Inserts without `Vec`'s doubling: half of all nodes would carry room for entries that never come.
fn insert_tight<E>(list: &mut Vec<E>, i: usize, item: E) {
    if list.len() == list.capacity() {
        list.reserve_exact(4);
    }
    list.insert(i, item);
}

/// The entries of a [`Tree`] in order.
#[derive(Debug)]
pub(crate) struct Iter<'a, T> {
    /// A node, and which of its entries comes next once everything above it on the stack is through.
    stack: Vec<(&'a Node<T>, usize)>,
}

impl<T> fmt::Debug for Node<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("count", &self.count).finish()
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let (node, i) = self.stack.last_mut()?;
            let (here, at) = (*node, *i);
            let Some(entry) = here.entries.get(at) else {
                self.stack.pop();
                continue;
            };
            *i = at + 1;
            let mut below = here.children.get(at + 1);
            while let Some(child) = below {
                self.stack.push((child, 0));
                below = child.children.first();
            }
            return Some(entry);
        }
    }
}

#[cfg(test)]
mod tests;
