//! Any sequence of calls, restarts and power cuts against the model.

use proptest::prelude::*;
use segment_log::fake::FakeDisk;

use crate::segment_log::workload::{Op, Run};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..=200_usize).prop_map(Op::Append),
        3 => prop::collection::vec(0..=200_usize, 0..6).prop_map(Op::AppendAll),
        4 => Just(Op::Sync),
        2 => Just(Op::Flush),
        1 => Just(Op::Rotate),
        1 => (0..20_usize).prop_map(Op::TruncateAfter),
        1 => (0..20_usize).prop_map(Op::TruncateFrom),
        1 => (0..3_u64).prop_map(Op::Purge),
        2 => Just(Op::MarkSynced),
        1 => Just(Op::ExtendAhead),
        1 => Just(Op::Reopen),
        1 => Just(Op::Restart),
        2 => Just(Op::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn log_and_list_agree(
        ops in prop::collection::vec(op(), 1..80),
        seed in any::<u64>(),
        sector_bytes in prop::sample::select(vec![8_u64, 24, 64, 512]),
    ) {
        let disk = FakeDisk::with_seed(seed);
        disk.set_sector_bytes(sector_bytes);
        let mut run = Run::new(disk);
        run.run(&ops).expect("nothing fails on this disk");
        run.step(&Op::PowerCut).expect("nothing fails on this disk");
    }
}
