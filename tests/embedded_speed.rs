//! How fast the embedded store is. Run with `cargo test --release --test embedded_speed -- --ignored --nocapture`.

use aerolith::embedded::{EmbeddedStore, StoreOptions, sample};
use aerolith::record::PartitionId;
use aerolith::{ConflictPolicy, EmbeddedSource, EmbeddedTarget, PartitionedSource, RecordTarget};
use std::time::Instant;

const RECORDS: u64 = 100_000;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    println!("{what:<48} {:8.3} s", start.elapsed().as_secs_f64());
    value
}

#[test]
#[ignore = "measures speed"]
fn measures_a_hundred_thousand_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = EmbeddedStore::create(&path).unwrap();
    timed("make the records (one thread)", || {
        (0..RECORDS).for_each(|index| drop(std::hint::black_box(sample::record(index, 0))))
    });
    timed("fill", || sample::fill(&store, "test", 0..RECORDS).unwrap());
    println!("file: {} bytes", std::fs::metadata(path.join("store.redb")).unwrap().len());
    let changed = timed("change 1 %", || sample::change(&store, "test", 0..RECORDS, 0.01, 1).unwrap());
    println!("changed {changed}");
    timed("count", || assert_eq!(store.count("test", None).unwrap(), RECORDS));
    let mut batches = Vec::new();
    let source = EmbeddedSource::new(store.clone());
    let mut bytes = 0;
    timed("scan 4096 partitions", || {
        for partition in PartitionId::all() {
            source
                .scan("test", partition, None, &mut |batch| {
                    bytes += batch.byte_len();
                    batches.push(batch);
                    Ok(())
                })
                .unwrap();
        }
    });
    println!("{} bytes of bodies a record", bytes as u64 / RECORDS);
    let mut rows = 0;
    timed("walk 4096 partitions", || {
        for partition in PartitionId::all() {
            let mut each = |heads: &[aerolith::DigestRow]| {
                rows += heads.len() as u64;
                Ok(())
            };
            source.walk("test", partition, None, &mut each).unwrap();
        }
    });
    assert_eq!(rows, RECORDS);
    let mut big = aerolith::record::RecordBatch::new();
    let mut merged = Vec::new();
    for batch in &batches {
        for record in batch.iter() {
            big.push_encoded(record.meta, record.body, record.bin_order).unwrap();
        }
        if big.byte_len() > 1 << 20 {
            merged.push(std::mem::take(&mut big));
        }
    }
    merged.push(big);
    for policy in [ConflictPolicy::Replace, ConflictPolicy::Keep, ConflictPolicy::Newer, ConflictPolicy::Replace] {
        let target = EmbeddedTarget::open(dir.path().join("target")).unwrap();
        timed(&format!("restore in batches of 1 MiB, two threads, {policy:?}"), || {
            let (left, right) = merged.split_at(merged.len() / 2);
            std::thread::scope(|scope| {
                for half in [left, right] {
                    let target = &target;
                    scope.spawn(move || {
                        for batch in half {
                            target.write("test", batch, policy).unwrap();
                        }
                    });
                }
            });
            target.finish().unwrap();
        });
    }
    drop((source, store));
    let store = timed("open, with the check of the whole file", || EmbeddedStore::open(&path).unwrap());
    drop(store);
    let quick = StoreOptions::default().verify(false);
    timed("open, without", || EmbeddedStore::open_with(&path, &quick).unwrap());
}
