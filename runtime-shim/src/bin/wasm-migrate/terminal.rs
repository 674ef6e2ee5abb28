//! What is told on standard error: notes, which `--quiet` keeps back, problems, and errors.
//!
//! Names in it may come from a snapshot, and so from anyone: control characters, with which they could move the cursor
//! or change what was printed before, are shown as escapes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ColorChoice;

static IS_QUIET: AtomicBool = AtomicBool::new(false);
static COLOR: OnceLock<ColorChoice> = OnceLock::new();

/// Keeps all notes back if `quiet`, and chooses colours.
pub(crate) fn set_up(quiet: bool, color: ColorChoice) {
    IS_QUIET.store(quiet, Ordering::Relaxed);
    // Set once, by `main`.
    let _ = COLOR.set(color);
}

/// Are notes kept back?
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Tells something, unless the user wants quiet.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    if !is_quiet() {
        say("", text);
    }
}

/// Tells that something failed without ending anything.
pub(crate) fn problem(text: fmt::Arguments<'_>) {
    say("", text);
}

/// Tells why all is over.
pub(crate) fn error(error: &anyhow::Error) {
    let label = label("error", "1;31");
    say(&label, format_args!("{}", chain(error)));
}

/// An error with all its causes, one a line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for (number, cause) in error.chain().skip(1).enumerate() {
        let _ = write!(text, "\n  {number}: {cause}");
    }
    text
}

/// How what the library logs is shown.
pub(crate) fn log_line(record: &log::Record<'_>) -> String {
    let (name, style) = match record.level() {
        log::Level::Error => ("error", "1;31"),
        log::Level::Warn => ("warning", "1;33"),
        log::Level::Info => ("info", "1;32"),
        log::Level::Debug | log::Level::Trace => ("debug", "2"),
    };
    let text = record.args().to_string();
    format!("{}{}", label(name, style), printable(&text))
}

fn label(name: &str, style: &str) -> String {
    let is_colored = match COLOR.get() {
        Some(ColorChoice::Always) => true,
        Some(ColorChoice::Never) => false,
        _ => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    match is_colored {
        true => format!("\x1b[{style}m{name}:\x1b[0m "),
        false => format!("{name}: "),
    }
}

fn say(label: &str, text: fmt::Arguments<'_>) {
    let text = text.to_string();
    // Nothing is left to tell if standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{label}{}", printable(&text));
}

/// A text that keeps its lines and can do nothing to a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && character != '\t')
}

/// A name that stays on its line and can do nothing to a terminal.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    escaped(text, |_| true)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |character: char| character.is_control() && is_escaped(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_escaped(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::{name, printable};

    #[test]
    fn control_characters_are_shown_and_not_done() {
        assert_eq!(
            printable("two\nlines\x1b[2J\u{9b}"),
            "two\nlines\\u{1b}[2J\\u{9b}"
        );
        assert_eq!(name("one\nline ä"), "one\\nline ä");
    }
}
