//! Boundaries wherever blocks are cut, damaged text, and arbitrary records through writer and reader.

use super::*;
use crate::record::{BinRef, Digest, Generation, KeyRef, ParticleType, RecordMeta, VoidTime};
use crate::targets::asb::{AsbTarget, AsbTargetOptions};
use crate::targets::{ConflictPolicy, RecordTarget};
use proptest::prelude::*;

const EVERY_KIND: &[u8] = include_bytes!("../../../tests/data/asb/every-kind.asb");
const COMPACT: &[u8] = include_bytes!("../../../tests/data/asb/compact.asb");
const ZSTD: &[u8] = include_bytes!("../../../tests/data/asb/every-kind-zstd.asb");

/// All that a parsing found, in a form that can be compared.
fn summary(parsed: &ParsedAsb) -> (Vec<String>, &NamespaceMetadata, Vec<String>) {
    let records = parsed.records.iter().map(|view| format!("{:?} {:?} {:?}", view.meta, view.body, view.bin_order));
    // What is quoted of the text may end with the block.
    let place = |error: &Error| match error {
        Error::Malformed { offset, expected, .. } => format!("{offset}: {expected}"),
        other => other.to_string(),
    };
    let mut faults: Vec<String> = parsed.faults.iter().map(place).collect();
    // Faults that only parsing finds come when their block is parsed.
    faults.sort();
    (records.collect(), &parsed.metadata, faults)
}

#[test]
fn the_size_of_blocks_changes_nothing() {
    for text in [EVERY_KIND, COMPACT, ZSTD] {
        let whole = parse_asb_bytes(text, 1 << 20).unwrap();
        assert!(whole.faults.is_empty(), "{:?}", whole.faults);
        assert!(whole.records.len() > 1);
        for block_bytes in 1..2000 {
            let parsed = parse_asb_bytes(text, block_bytes).unwrap();
            assert_eq!(summary(&parsed), summary(&whole), "blocks of {block_bytes}");
        }
    }
}

#[test]
fn a_count_below_the_bins_that_follow_is_noticed_wherever_a_block_ends() {
    let mut text = EVERY_KIND.to_vec();
    let at = memchr::memmem::find(&text, b"+ b 8\n").unwrap();
    text[at + 4] = b'7';
    for block_bytes in 1..1800 {
        let parsed = parse_asb_bytes(&text, block_bytes).unwrap();
        assert_eq!((parsed.records.len(), parsed.faults.len()), (6, 1), "blocks of {block_bytes}");
        assert!(parsed.faults[0].to_string().contains("the 7 stated bins"), "{:?}", parsed.faults);
    }
}

#[test]
fn a_record_longer_than_a_block_makes_it_grow() {
    let mut text =
        b"Version 3.1\n# namespace n\n+ n n\n+ d AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n+ g 1\n+ t 0\n+ b 1\n- S s 300000 "
            .to_vec();
    text.extend(std::iter::repeat_n(b'\n', 300_000));
    text.push(b'\n');
    let parsed = parse_asb_bytes(&text, 64).unwrap();
    assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
    assert_eq!(parsed.records.get(0).unwrap().parse().unwrap().bins()[0].bytes, &[b'\n'; 300_000][..]);
}

#[test]
fn a_stated_length_takes_no_memory_before_the_bytes_are_there() {
    let text = b"Version 3.1\n# namespace n\n+ k S 300000000 x\n+ n n\n";
    let parsed = parse_asb_bytes(text, 64).unwrap();
    assert_eq!((parsed.records.len(), parsed.faults.len()), (0, 1));
    let fault = parsed.faults[0].to_string();
    assert!(fault.contains("stated length") && fault.contains("end of the file"), "{fault}");
}

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

/// Damages a text in one to four places.
fn mutate(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        match random.below(6) {
            0 => text[at] ^= 1 << random.below(8),
            1 => text[at] = b"0123456789 \n+-*#!\\kndsgtbiueNZIDSXGBYML="[random.below(40)],
            2 => drop(text.drain(at..(at + 1 + random.below(20)).min(text.len())).count()),
            3 => {
                let from = random.below(text.len());
                let piece = text[from..(from + random.below(60)).min(text.len())].to_vec();
                text.splice(at..at, piece);
            }
            4 => text.truncate(at.max(40)),
            _ => text.insert(at, b"\n +0"[random.below(4)]),
        }
        if text.is_empty() {
            break;
        }
    }
    text
}

#[test]
fn damaged_text_never_panics_and_reads_alike_in_blocks_of_any_size() {
    let mut random = Random(20_260_501);
    let (mut damaged, mut kept) = (0, 0);
    for round in 0..20_000 {
        let text = mutate([EVERY_KIND, COMPACT][round % 2], &mut random);
        let Ok(whole) = parse_asb_bytes(&text, 1 << 20) else { continue };
        damaged += usize::from(!whole.faults.is_empty());
        kept += whole.records.len();
        let block_bytes = 1 + random.below(300);
        let parsed = parse_asb_bytes(&text, block_bytes).unwrap();
        assert_eq!(
            summary(&parsed),
            summary(&whole),
            "round {round}, blocks of {block_bytes}: {}",
            text.escape_ascii()
        );
    }
    assert!(damaged > 5_000 && kept > 20_000, "{damaged} {kept}");
}

#[test]
fn damaged_containers_never_panic() {
    let mut random = Random(7);
    for _ in 0..5_000 {
        let _ = parse_asb_bytes(&mutate(ZSTD, &mut random), 256);
    }
}

#[test]
fn text_inside_values_is_never_taken_for_records() {
    let parsed = parse_asb_bytes(EVERY_KIND, 1 << 20).unwrap();
    let trick = parsed.records.iter().find(|view| view.meta.generation == Generation(65_535)).unwrap();
    let body = trick.parse().unwrap();
    assert!(body.key().unwrap().bytes.starts_with(b"x\n+ k S 3 abc\n+ n name\\ space\n"));
    assert_eq!(parsed.records.len(), 7);
}

#[derive(Debug, Clone)]
struct Sample {
    set: Vec<u8>,
    key: Option<(ParticleType, Vec<u8>)>,
    digest: [u8; 20],
    generation: u16,
    void_time: u32,
    bins: Vec<(Vec<u8>, ParticleType, Vec<u8>)>,
}

/// Names of any bytes but NUL, with many of those that need escapes.
fn name(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), Just(b'\\'), 1u8..=255], 0..=longest)
}

fn double() -> impl Strategy<Value = Vec<u8>> {
    any::<u64>().prop_map(|bits| {
        let sign = bits & (1 << 63);
        let bits = if f64::from_bits(bits).is_nan() { sign | crate::asb::number::NAN_BITS } else { bits };
        bits.to_be_bytes().to_vec()
    })
}

fn value() -> impl Strategy<Value = (ParticleType, Vec<u8>)> {
    let nasty = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        Just(b"\n+ k S 1 a\n+ n name\\ space\n+ d AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n+ g 1\n+ t 0\n+ b 0\n".to_vec()),
        Just(b"\n- I a 1\n* i a b c\n".to_vec()),
    ];
    let bytes = proptest::sample::select(parse::BYTES_LETTERS.map(|(_, particle)| particle).to_vec());
    prop_oneof![
        any::<i64>().prop_map(|value| (ParticleType::INTEGER, value.to_be_bytes().to_vec())),
        double().prop_map(|value| (ParticleType::DOUBLE, value)),
        nasty.clone().prop_map(|value| (ParticleType::STRING, value)),
        (bytes, nasty.clone()),
        any::<bool>().prop_map(|value| (ParticleType::BOOL, vec![u8::from(value)])),
        nasty.prop_map(|text| (ParticleType::GEOJSON, [&[0; 3][..], &text].concat())),
        Just((ParticleType::NULL, Vec::new())),
    ]
}

fn key() -> impl Strategy<Value = (ParticleType, Vec<u8>)> {
    let kinds = [ParticleType::INTEGER, ParticleType::DOUBLE, ParticleType::STRING, ParticleType::BLOB];
    value().prop_filter("a key type", move |(particle, _)| kinds.contains(particle))
}

fn sample() -> impl Strategy<Value = Sample> {
    let bins = proptest::collection::btree_map(name(20), value(), 0..9).prop_map(Vec::from_iter).prop_shuffle();
    (name(63), proptest::option::of(key()), any::<[u8; 20]>(), any::<u16>(), any::<u32>(), bins).prop_map(
        |(set, key, digest, generation, void_time, bins)| Sample {
            set,
            key,
            digest,
            generation,
            void_time,
            bins: bins.into_iter().map(|(name, (particle, bytes))| (name, particle, bytes)).collect(),
        },
    )
}

fn batch_of(samples: &[Sample]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for sample in samples {
        let meta = RecordMeta {
            digest: Digest(sample.digest),
            set: &sample.set,
            generation: Generation(u32::from(sample.generation)),
            void_time: VoidTime(sample.void_time),
        };
        let key = sample.key.as_ref().map(|(particle, bytes)| KeyRef { particle: *particle, bytes });
        let bins: Vec<_> =
            sample.bins.iter().map(|(name, particle, bytes)| BinRef { name, particle: *particle, bytes }).collect();
        batch.push(meta, key, &bins).unwrap();
    }
    batch
}

proptest! {
    #[test]
    fn arbitrary_records_come_back_through_writer_and_reader(
        samples in proptest::collection::vec(sample(), 1..12),
        namespace in "[a-z \\\\]{1,20}",
        zstd in proptest::option::of(1..5),
        block_bytes in 1usize..2000,
    ) {
        let namespace = namespace.replace('\\', "_");
        let batch = batch_of(&samples);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.asb");
        let target = AsbTarget::new(&path, AsbTargetOptions { zstd, ..Default::default() }).unwrap();
        target.begin(&namespace, &NamespaceMetadata::default()).unwrap();
        let outcome = target.write(&namespace, &batch, ConflictPolicy::Replace).unwrap();
        prop_assert_eq!((outcome.written, &outcome.failed), (samples.len() as u64, &vec![]));
        target.finish().unwrap();
        let parsed = parse_asb_bytes(&std::fs::read(&path).unwrap(), block_bytes).unwrap();
        prop_assert_eq!(parsed.faults.len(), 0);
        prop_assert_eq!(parsed.namespace, namespace.into_bytes());
        prop_assert_eq!(parsed.records.len(), batch.len());
        for (found, wanted) in parsed.records.iter().zip(batch.iter()) {
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), block_bytes in 1usize..64) {
        let _ = parse_asb_bytes(&bytes, block_bytes);
        let text = [b"Version 3.2\n# namespace n\n", &bytes[..]].concat();
        let _ = parse_asb_bytes(&text, block_bytes);
    }
}
