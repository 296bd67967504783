//! The known name that someone probably meant.
//!
//! Cheap whatever comes in, for it also runs on a client's misspelled model: a long name is not looked up, and a comparison ends
//! as soon as the two are further apart than a suggestion may be.

/// Bytes of the longest name that is looked up.
const MAX_NAME: usize = 100;

/// The known name nearest to `name`, if one is near. Case does not count.
///
/// Near is: few letters dropped, added, changed or swapped (one for 3 letters, two for 6, at most four); or, less near, the one
/// begins with the other.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_n(name, known, 1).into_iter().next()
}

/// At most `n` known names near to `name`, the nearest first; among equals, the known names' own order.
pub fn nearest_n<'a>(
    name: &str,
    mut known: impl Iterator<Item = &'a str>,
    n: usize,
) -> Vec<&'a str> {
    nearest_of(name, &mut known, n)
}

/// One for all iterators: each would be a copy of this in the filter.
fn nearest_of<'a>(name: &str, known: &mut dyn Iterator<Item = &'a str>, n: usize) -> Vec<&'a str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Vec::new();
    }
    let limit = (name.len() / 3).min(4);
    let mut rows = Rows::default();
    let mut near: Vec<(usize, usize, &str)> = known
        .filter_map(|candidate| {
            let apart = name.len().abs_diff(candidate.len());
            let score = rows
                .distance(name.as_bytes(), candidate.as_bytes(), limit)
                .or_else(|| begins(name, candidate).then(|| limit.saturating_add(1)))?;
            Some((score, apart, candidate))
        })
        .collect();
    // A few times the first of the nearest: a sort would be more code than it saves time.
    let mut nearest = Vec::new();
    while nearest.len() < n {
        let rows = near.iter().enumerate();
        let first = rows.min_by_key(|(_, (score, apart, _))| (*score, *apart));
        let Some((at, _)) = first else {
            break;
        };
        nearest.push(near.remove(at).2);
    }
    nearest
}

/// Whether the longer of the two begins with the other, and that one says something.
fn begins(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.len() >= 3
        && long
            .as_bytes()
            .get(..short.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(short.as_bytes()))
}

/// Three rows of the optimal string alignment table, kept from one comparison to the next.
#[derive(Default)]
struct Rows {
    before: Vec<usize>,
    above: Vec<usize>,
    row: Vec<usize>,
}

// === impl Rows ===

impl Rows {
    /// Edits from `a` to `b`, if at most `limit`. Only the cells within `limit` of the diagonal are computed.
    fn distance(&mut self, a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
        if a.len().abs_diff(b.len()) > limit {
            return None;
        }
        let far = limit.saturating_add(1);
        let width = b.len().saturating_add(1);
        self.above.clear();
        self.above.extend((0..width).map(|j| j.min(far)));
        self.before.clear();
        for (i, &x) in a.iter().enumerate() {
            self.row.clear();
            self.row.resize(width, far);
            if let Some(cell) = self.row.first_mut() {
                *cell = i.saturating_add(1).min(far);
            }
            let mut least = self.row.first().copied().unwrap_or(far);
            for (j, &y) in b
                .iter()
                .enumerate()
                .take(i.saturating_add(far))
                .skip(i.saturating_sub(limit))
            {
                let next = j.saturating_add(1);
                let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(far);
                let changed = usize::from(!x.eq_ignore_ascii_case(&y));
                let mut edits = at(&self.above, j)
                    .saturating_add(changed)
                    .min(at(&self.above, next).saturating_add(1))
                    .min(at(&self.row, j).saturating_add(1));
                if swapped(a, i, b, j) {
                    edits = edits.min(at(&self.before, j.saturating_sub(1)).saturating_add(1));
                }
                let edits = edits.min(far);
                least = least.min(edits);
                if let Some(cell) = self.row.get_mut(next) {
                    *cell = edits;
                }
            }
            if least > limit {
                return None;
            }
            std::mem::swap(&mut self.before, &mut self.above);
            std::mem::swap(&mut self.above, &mut self.row);
        }
        self.above.last().copied().filter(|&edits| edits <= limit)
    }
}

/// Whether the letters at `i - 1` and `i` of `a` are those of `b` at `j` and `j - 1`.
fn swapped(a: &[u8], i: usize, b: &[u8], j: usize) -> bool {
    let pair = |text: &[u8], end: usize| {
        let start = end.checked_sub(1)?;
        Some((
            text.get(start)?.to_ascii_lowercase(),
            text.get(end)?.to_ascii_lowercase(),
        ))
    };
    match (pair(a, i), pair(b, j)) {
        (Some((a0, a1)), Some((b0, b1))) => a0 == b1 && a1 == b0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, known: &[&str], expected: &[&str]) {
        assert_eq!(
            nearest_n(name, known.iter().copied(), 3),
            expected,
            "{name}"
        );
        assert_eq!(
            nearest(name, known.iter().copied()),
            expected.first().copied(),
            "{name}"
        );
    }

    #[test]
    fn near_names() {
        check("antropic", &["openai", "anthropic"], &["anthropic"]);
        check(
            "targts",
            &["description", "targets", "timeouts"],
            &["targets"],
        );
        check("tragets", &["targets"], &["targets"]);
        check("FAST", &["fast"], &["fast"]);
        check("lml", &["llm"], &["llm"]);
        check(
            "gpt-5",
            &["gpt-5-nano", "gpt-5.2", "o3"],
            &["gpt-5.2", "gpt-5-nano"],
        );
        check(
            "gpt-5-nano-2025-08-07",
            &["gpt-5", "gpt-5-nano"],
            &["gpt-5-nano", "gpt-5"],
        );
        check(
            "claude-haiku",
            &["claude-haiku-4-5", "claude-opus-4-5"],
            &["claude-haiku-4-5"],
        );
        check("gpt5nano", &["gpt-5-nano"], &["gpt-5-nano"]);
        check(
            "abcd",
            &["abce", "abcf", "abcg", "abch"],
            &["abce", "abcf", "abcg"],
        );
    }

    #[test]
    fn far_names() {
        check("", &["a", "fast"], &[]);
        check("x", &["y", "fast"], &[]);
        check("local", &["rules", "llm"], &[]);
        check("mistral", &["gpt-5", "claude"], &[]);
        check(&"a".repeat(101), &["a"], &[]);
        check("fast", &[], &[]);
    }

    proptest::proptest! {
        /// The banded table says what the whole table says.
        #[test]
        fn agrees_with_the_whole_table(a in "[ab]{0,9}", b in "[ab]{0,9}") {
            let whole = Rows::default().distance(a.as_bytes(), b.as_bytes(), 20);
            for limit in 0..5 {
                let banded = Rows::default().distance(a.as_bytes(), b.as_bytes(), limit);
                proptest::prop_assert_eq!(banded, whole.filter(|&d| d <= limit));
            }
        }

        #[test]
        fn never_panics(name in ".{0,120}", known in proptest::collection::vec(".{0,120}", 0..6)) {
            nearest_n(&name, known.iter().map(String::as_str), 3);
        }
    }
}
