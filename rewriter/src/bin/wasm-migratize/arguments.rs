//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ColorChoice, Parser, ValueEnum, ValueHint};
use wasm_migratize::Optimize;

/// Rewrite a WebAssembly module so that it can be stopped, moved and resumed anywhere.
///
/// The result behaves like the input. Run it with `wasm-migrate run`, which can stop it at any moment, save
/// its whole state in a file, and resume it from there on another machine, CPU or engine.
#[derive(Debug, Parser)]
#[command(
    name = "wasm-migratize",
    version,
    after_help = "Examples:\n  \
        wasm-migratize app.wasm -o app.mig.wasm\n  \
        wasm-migratize app.wat -t                        # show the result as text\n  \
        wasm-migratize app.wasm --report                 # what would be suspendable, and why\n  \
        wat2wasm app.wat --output=- | wasm-migratize - -o app.mig.wasm\n\n\
        Exit status: 0 success, 1 the module cannot be rewritten, 2 wrong usage."
)]
pub(crate) struct Arguments {
    /// The module, binary or text; `-` is standard input.
    #[arg(value_hint = ValueHint::FilePath, required_unless_present_any = ["completions", "man"])]
    pub(crate) input: Option<PathBuf>,

    /// Where to write the result; `-` or nothing is standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    /// Write the text format instead of the binary format.
    #[arg(short, long)]
    pub(crate) text: bool,

    /// An import that may block: the program can be stopped while it waits there, and the call is made again
    /// after the resume. The blocking calls of WASI preview 1 need no declaration. May be repeated.
    #[arg(long = "suspending-import", value_name = "MODULE.NAME")]
    pub(crate) suspending_imports: Vec<ImportName>,

    /// What counts most where size and speed are at odds. Snapshots of one variant fit the others.
    #[arg(short = 'O', long, value_name = "GOAL", default_value = "balanced")]
    pub(crate) optimize: Goal,

    /// Optimize for speed where the program spends its time, and for size elsewhere. `wasm-migrate run --profile-to FILE`
    /// takes such a profile, of any variant of the same module.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "optimize")]
    pub(crate) profile: Option<PathBuf>,

    /// How many operators may be executed between two polls. Loops that are known to end soon are polled if they may
    /// execute more, and so are entries of recursive functions from which too much may follow; there is a warning if what is left still exceeds it. `--report` says what was proved.
    #[arg(long, value_name = "OPERATORS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_latency: Option<u32>,

    /// Print, for every function, whether and why it is suspendable, its safe points and their live values,
    /// and its size before and after. Without `-o` nothing else is written.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub(crate) report: Option<ReportFormat>,

    /// Say more; twice for even more. `RUST_LOG` overrides this.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Say nothing but errors.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// When to color messages.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,

    /// Print a completion script for this shell and exit.
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<clap_complete::Shell>,

    /// Print the manual page and exit.
    #[arg(long)]
    pub(crate) man: bool,
}

/// What to optimize for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Goal {
    /// A small module.
    Size,
    /// Small, unless it costs much time.
    Balanced,
    /// A fast module.
    Speed,
}

impl From<Goal> for Optimize {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Size => Self::Size,
            Goal::Balanced => Self::Balanced,
            Goal::Speed => Self::Speed,
        }
    }
}

/// Format of the report.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// For tools.
    Json,
}

/// Name of an import, `MODULE.NAME`.
#[derive(Debug, Clone)]
pub(crate) struct ImportName {
    pub(crate) module: String,
    pub(crate) name: String,
}

impl FromStr for ImportName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('.') {
            Some((module, name)) if !name.is_empty() => Ok(Self {
                module: module.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "expected MODULE.NAME, such as `env.recv`, found `{text}`"
            )),
        }
    }
}

impl Arguments {
    /// Sends log messages to standard error.
    pub(crate) fn start_logging(&self) {
        let level = match self.verbose {
            _ if self.quiet => "error",
            0 => "warn",
            1 => "info",
            _ => "debug",
        };
        let style = match self.color {
            ColorChoice::Always => env_logger::WriteStyle::Always,
            ColorChoice::Never => env_logger::WriteStyle::Never,
            ColorChoice::Auto => env_logger::WriteStyle::Auto,
        };
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
            .format_timestamp(None)
            .format_target(false)
            .write_style(style)
            .init();
    }

    /// Prints an error and its causes.
    pub(crate) fn print_error(&self, error: &anyhow::Error) {
        use std::io::IsTerminal;
        let colored = match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => std::io::stderr().is_terminal(),
        };
        let label = if colored {
            "\x1b[1;31merror:\x1b[0m"
        } else {
            "error:"
        };
        eprintln!("{label} {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  caused by: {cause}");
        }
    }
}
