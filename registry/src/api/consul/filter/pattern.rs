//! Patterns: bounded before they are compiled, while they are, and when they search.
//!
//! They run in a virtual machine that keeps every state it may be in and steps all of them, byte by
//! byte. It is not the fastest of engines, but the only one whose time and memory are known
//! beforehand: bytes times the pattern's size, whatever the pattern and the text are. Engines that
//! build automata as they go are faster until they run out of room for them, and then slower; and
//! they keep megabytes for each pattern.

use std::error::Error as _;

use regex_automata::nfa::thompson::{
    BuildError, Compiler, Config, NFA, WhichCaptures,
    pikevm::{Cache, PikeVM},
};

use super::{
    Wrong,
    work::{Stop, Work},
};

/// Patterns of a filter. What people write has one or two; many words fit into one.
const PATTERNS_MAX: usize = 32;

/// Bytes of all patterns of a filter together, as they are written. The worst that we found take
/// 40 µs a byte to compile.
const TEXT_BYTES_MAX: usize = 2 * 1024;

/// Bytes of all patterns of a filter together, compiled. One `\w` takes 18 KB.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// Refuses what is too much before any of it is compiled.
pub(super) fn check(patterns: &[String]) -> Result<(), Wrong> {
    let count = patterns.len();
    if count > PATTERNS_MAX {
        return Err(Wrong::expensive(format!(
            "it has {count} patterns, and {PATTERNS_MAX} is the most; \
             put them into one, such as \"^(a|b)$\", or use == instead"
        )));
    }
    let bytes: usize = patterns.iter().map(String::len).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(Wrong::expensive(format!(
            "its patterns have {bytes} bytes together, and {TEXT_BYTES_MAX} is the most; \
             shorten them, or use == or contains instead"
        )));
    }
    Ok(())
}

/// The patterns of one filter that are compiled so far.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    compiled: Vec<Pattern>,
    bytes: usize,
}

#[derive(Debug)]
struct Pattern {
    machine: PikeVM,
    cache: Cache,
    size: usize,
}

impl Patterns {
    /// Compiles one more.
    pub(super) fn compile(&mut self, text: &str, work: &mut Work) -> Result<(), Stop> {
        work.read(text)?;
        let left = COMPILED_BYTES_MAX.saturating_sub(self.bytes);
        let config = Config::new()
            .nfa_size_limit(Some(left))
            .which_captures(WhichCaptures::None);
        let built = Compiler::new().configure(config).build(text);
        let nfa: NFA = built.map_err(|why| wrong(&why))?;
        let size = nfa.memory_usage();
        let machine = PikeVM::new_from_nfa(nfa).map_err(|why| wrong(&why))?;
        let cache = machine.create_cache();
        work.compiled(size);
        self.bytes = self.bytes.saturating_add(size);
        self.compiled.push(Pattern {
            machine,
            cache,
            size,
        });
        Ok(())
    }

    /// Whether a pattern, by its place, is found in a text.
    pub(super) fn finds(
        &mut self,
        place: usize,
        text: &str,
        work: &mut Work,
    ) -> Result<bool, Stop> {
        let Some(pattern) = self.compiled.get_mut(place) else {
            let why = "a pattern is not compiled; report this";
            return Err(Wrong::Expression(why.into()).into());
        };
        work.search(text.len(), pattern.size)?;
        Ok(pattern.machine.is_match(&mut pattern.cache, text))
    }
}

fn wrong(why: &BuildError) -> Wrong {
    if why.size_limit().is_some() {
        return Wrong::expensive(format!(
            "its patterns take more than {COMPILED_BYTES_MAX} bytes when they are compiled; use \
             shorter repetitions, such as a+ for a{{200}}, and smaller classes, such as [a-z] for \\pL"
        ));
    }
    // The last line says what is wrong; those before it repeat the pattern.
    let told = why
        .source()
        .map_or_else(|| why.to_string(), ToString::to_string);
    let line = told.lines().last().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    Wrong::Expression(format!("the pattern is not one: {line}"))
}
