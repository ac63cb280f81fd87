//! Which characters nobody sees, or that change how the ones around them are seen.

/// Whether a character shows nothing of itself on a page: it joins or parts others, turns the direction of
/// writing, picks another shape, or is a blank that is no space. Two names that differ by such alone look the
/// same, and one of them passes for the other.
///
/// The plain space is none of them, and neither are control characters: see [`char::is_control`].
#[must_use]
pub fn is_invisible(c: char) -> bool {
    (c.is_whitespace() && c != ' ' && !c.is_control())
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_told_from_letters_of_all_scripts() {
        for c in [
            '\u{a0}',
            '\u{ad}',
            '\u{1680}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{202f}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            assert!(is_invisible(c), "{c:?}");
        }
        for c in "az09._:- é漢字かなعربيहिन्दी한글🚀\u{301}\n\t\u{1b}\u{7f}".chars()
        {
            assert!(!is_invisible(c), "{c:?}");
        }
    }
}
