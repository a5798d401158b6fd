//! `inspect`: looks at single objects of the repository.

use super::among::Among;
use super::context::Context;
use super::output::Lines;
use crate::error::Result;
use crate::job::{self, Done, InspectOptions};
use clap::Subcommand;

/// Show single objects of the repository, as JSON lines
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith inspect config
  aerolith inspect snapshot latest | jq .namespaces[].runs[].root
  aerolith inspect index
  aerolith inspect pack 3f2a")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The parameters that were set when the repository was made
    #[command(after_help = "Example: aerolith inspect config")]
    Config,
    /// A pack, and the chunks in it
    #[command(after_help = "Example: aerolith inspect pack 3f2a")]
    Pack {
        /// The pack's id or its beginning
        id: String,
    },
    /// The index segments; with ID, the rows of the segments of one session
    #[command(after_help = "Example: aerolith inspect index 14ee")]
    Index {
        /// The id of the session (that of its snapshot), or its beginning
        id: Option<String>,
    },
    /// The places where a chunk is stored
    #[command(after_help = "Example: aerolith inspect chunk 18ac7abe20a5 --hex | jq -r .hex | xxd -r -p")]
    Chunk {
        /// The chunk's id or its beginning
        id: String,
        /// Print its plain bytes in hexadecimal
        #[arg(long)]
        hex: bool,
    },
    /// The nodes of a run
    #[command(after_help = "Example: aerolith inspect run 18ac7abe20a5")]
    Run {
        /// The id of its root, as `show` prints it, or its beginning
        id: String,
    },
    /// A snapshot: what `show --json` prints
    #[command(after_help = "Example: aerolith inspect snapshot latest")]
    Snapshot {
        /// An id or its beginning, latest, latest~N, or @TIME
        id: String,
        #[command(flatten)]
        among: Among,
    },
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let options = match args.what {
        What::Config => InspectOptions::config(),
        What::Snapshot { id, among } => InspectOptions::snapshot(&id, among.filter()),
        What::Pack { id } => InspectOptions::pack(&id)?,
        What::Index { id } => InspectOptions::index(id.as_deref())?,
        What::Chunk { id, hex } => InspectOptions::chunk(&id, hex)?,
        What::Run { id } => InspectOptions::run(&id)?,
    };
    let mut lines = Lines::new();
    let done = job::inspect(&context.repository()?, &options, |object| lines.json(&object))?;
    lines.finish()?;
    Ok(done)
}
