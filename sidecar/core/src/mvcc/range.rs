//! How a range is answered: filters, sort, limit, count, as etcd does it (`server/etcdserver/txn/range.go`).
//!
//! May import: `view`, `check`, `command`. Deliberately absent: where the request comes from.

use std::cmp::Ordering;

use super::check::validate_range;
use super::command::{KeyValue, KvRefusal, Range, RangeResponse, SortOrder, SortTarget};
use super::row::Row;
use super::span::Span;
use super::view::View;

impl View {
    /// Answers a range at any revision that is neither compacted nor to come. Keys and values share the store's
    /// memory: an answer that is kept for long keeps the rows it came from.
    ///
    /// # Errors
    /// [`KvRefusal::EmptyKey`], [`KvRefusal::InvalidSortOption`], [`KvRefusal::Compacted`],
    /// [`KvRefusal::FutureRevision`].
    pub fn range(&self, request: &Range) -> Result<RangeResponse, KvRefusal> {
        validate_range(request)?;
        let at = self.resolve(request.revision)?;
        Ok(self.range_at(request, at))
    }

    /// Answers a valid range at a legal revision.
    pub(super) fn range_at(&self, request: &Range, at: i64) -> RangeResponse {
        let span = Span::of(&request.range);
        if request.count_only {
            let (_, count) = self.rows_at(span, at, 0);
            return RangeResponse { kvs: Vec::new(), more: false, count: to_i64(count) };
        }
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let limit = if limit == 0 { usize::MAX } else { limit };
        let sort = Sort::of(request);
        // Only an answer in the order of keys may stop early; one more than the limit tells whether there is more.
        let fetch =
            if sort.is_none() && !has_filters(request) { limit.saturating_add(1) } else { usize::MAX };
        let (mut rows, count) = self.rows_at(span, at, fetch);
        if has_filters(request) {
            rows.retain(|row| passes(request, row));
        }
        if let Some(sort) = sort {
            sort.apply(&mut rows);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let kvs: Vec<KeyValue> = rows.into_iter().map(|row| row.to_key_value(!request.keys_only)).collect();
        RangeResponse { kvs, more, count: to_i64(count) }
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const fn has_filters(request: &Range) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// Whether the row passes the filters; a bound of 0 is none, any other holds as it is, negative ones too.
fn passes(request: &Range, row: &Row) -> bool {
    let modified = row.mark().revision;
    let created = row.content().0.create_revision;
    (request.min_mod_revision == 0 || modified >= request.min_mod_revision)
        && (request.max_mod_revision == 0 || modified <= request.max_mod_revision)
        && (request.min_create_revision == 0 || created >= request.min_create_revision)
        && (request.max_create_revision == 0 || created <= request.max_create_revision)
}

/// An order other than the store's own.
struct Sort {
    target: SortTarget,
    descending: bool,
}

impl Sort {
    /// The order that the request wants; none if the store's own will do.
    fn of(request: &Range) -> Option<Self> {
        let target = request.target();
        match (target, request.order()) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
            (_, SortOrder::None | SortOrder::Ascend) => Some(Self { target, descending: false }),
            (_, SortOrder::Descend) => Some(Self { target, descending: true }),
        }
    }

    /// Sorts rows that are in the order of their keys; what is equal stays in that order. etcd leaves it open.
    fn apply(&self, rows: &mut [&Row]) {
        if self.target == SortTarget::Key {
            rows.reverse();
            return;
        }
        rows.sort_by(|a, b| {
            let order = self.compare(a, b);
            if self.descending { order.reverse() } else { order }
        });
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let ((meta_a, value_a), (meta_b, value_b)) = (a.content(), b.content());
        match self.target {
            SortTarget::Key => a.key().cmp(b.key()),
            SortTarget::Version => meta_a.version.cmp(&meta_b.version),
            SortTarget::Create => meta_a.create_revision.cmp(&meta_b.create_revision),
            SortTarget::Mod => a.mark().revision.cmp(&b.mark().revision),
            SortTarget::Value => value_a.cmp(value_b),
        }
    }
}
