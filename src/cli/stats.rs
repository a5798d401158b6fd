//! `stats`: how large everything is.

use super::among::Among;
use super::context::Context;
use super::output::{columns, complain, print_line};
use super::text::{self, Narrowing};
use crate::error::Result;
use crate::job::{self, Done, StatsReport};

/// Show how much the repository holds, and what each snapshot adds to it
///
/// For each snapshot: the plain bytes of its live records (needs), those of the value chunks that contain them
/// (holds), the stored bytes of all chunks that it refers to (reaches), of those that no older snapshot refers to
/// (adds), and of those that no other snapshot refers to (only). With --cluster and the like, the other snapshots are
/// those of the same cluster and so on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith stats
  aerolith stats --json | jq '.stored_bytes, .snapshots[-1].added_bytes'")]
pub struct Args {
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let report = job::stats(&context.repository()?, &args.among.filter())?;
    if context.json() {
        context.print_json(&report)?
    } else {
        print(&report)?
    }
    Ok(report.done())
}

fn print(report: &StatsReport) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .snapshots
        .iter()
        .map(|snapshot| {
            let mut row = vec![
                text::short(&snapshot.snapshot),
                text::to_second(&snapshot.committed),
                text::count(snapshot.records),
            ];
            let sizes = [
                snapshot.needed_bytes,
                snapshot.held_bytes,
                snapshot.reached_bytes,
                snapshot.added_bytes,
                snapshot.only_bytes,
            ];
            row.extend(sizes.map(text::bytes));
            row
        })
        .collect();
    let header = ["snapshot", "committed", "records", "needs", "holds", "reaches", "adds", "only"];
    let narrowing = Narrowing { left_out: &[4, 3], cut: &[] };
    print_line(&text::table_within(columns(), &header, &rows, &[2, 3, 4, 5, 6, 7], &narrowing))?;
    print_line("")?;
    let totals = [
        ("logical", report.logical_bytes, "the live records of all snapshots"),
        ("unique", report.unique_bytes, "the distinct chunks that they reach, before compression"),
        ("reached", report.reached_bytes, "those chunks as they are stored"),
        ("stored", report.stored_bytes, "all objects of the repository"),
    ];
    let rows: Vec<Vec<String>> =
        totals.iter().map(|(name, n, what)| vec![name.to_string(), text::bytes(*n), what.to_string()]).collect();
    print_line(&text::table(&["total", "bytes", "of"], &rows, &[1]))?;
    print_line("")?;
    let rows: Vec<Vec<String>> = report
        .stored
        .iter()
        .map(|stored| vec![stored.what.to_string(), text::count(stored.objects), text::bytes(stored.bytes)])
        .collect();
    print_line(&text::table(&["in", "objects", "bytes"], &rows, &[1, 2]))?;
    for snapshot in report.snapshots.iter().filter(|snapshot| snapshot.missing_chunks > 0) {
        let lacks = text::plural(snapshot.missing_chunks, "chunk");
        complain(&format!("snapshot {} is missing {lacks}", snapshot.snapshot));
    }
    report.damaged.iter().for_each(|problem| complain(problem));
    Ok(())
}
