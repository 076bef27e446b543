//! The name that was probably meant.

/// The candidate nearest to `word`, if one is near enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distances =
        candidates.iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), *candidate));
    let (distance, nearest) = distances.min()?;
    (distance <= word.chars().count().div_ceil(3)).then_some(nearest)
}

/// Number of characters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let fields = ["peerAddress", "peerASN", "holdTime", "port"];
        assert_eq!(nearest("peerAdress", &fields), Some("peerAddress"));
        assert_eq!(nearest("PeerAsn", &fields), Some("peerASN"));
        assert_eq!(nearest("holdtiem", &fields), Some("holdTime"));
        assert_eq!(nearest("colour", &fields), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
