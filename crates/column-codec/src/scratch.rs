//! Buffers that are kept from chunk to chunk.

use crate::floats::FloatBuffers;
use crate::ints::Planner;

/// Buffers for encoding and decoding. Keep one for many chunks: nothing is allocated once it has grown
/// to the largest of them. What is in it between calls means nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) times: Vec<i64>,
    pub(crate) integers: Vec<i64>,
    pub(crate) lengths: Vec<i64>,
    pub(crate) ends: Vec<usize>,
    pub(crate) distinct: Vec<f64>,
    pub(crate) floats: Vec<f64>,
    pub(crate) flags: Vec<bool>,
    pub(crate) planner: Planner,
    pub(crate) float_buffers: FloatBuffers,
    pub(crate) columns: Vec<u8>,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }
}
