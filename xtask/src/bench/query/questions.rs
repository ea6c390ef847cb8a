//! What is asked: the questions that a plant's page and reports ask most.

/// One question, as the HTTP API takes it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    /// What the nodes call it in their metrics.
    pub(crate) verb: &'static str,
    pub(crate) path: &'static str,
    /// Longest time in the node for one client, in ms, where one was set.
    pub(crate) bar_ms: Option<f64>,
}

pub(crate) const QUESTIONS: [Question; 7] = [
    Question {
        name: "last of one series",
        verb: "last",
        path: "/api/v1/last?match=load/d0001/m01",
        bar_ms: Some(1.0),
    },
    Question {
        name: "last of 1,000 series",
        verb: "last",
        path: "/api/v1/last?match=load/**",
        bar_ms: None,
    },
    Question {
        name: "one hour at 1 Hz, raw",
        verb: "range",
        path: "/api/v1/range?match=load/d0001/m01&from=2024-07-01T10:20:30Z&to=2024-07-01T11:20:30Z",
        bar_ms: Some(2.0),
    },
    Question {
        name: "one day at 1 Hz in means of a minute",
        verb: "buckets",
        path: "/api/v1/range?match=load/d0001/m01&from=2024-07-01&to=2024-07-02&every=1m&agg=mean",
        bar_ms: None,
    },
    Question {
        name: "one year at 1 Hz in 1,000 buckets",
        verb: "buckets",
        path: "/api/v1/range?match=load/d0001/m01&from=2024-01-01&to=2024-12-31&every=31536s&agg=mean,min,max",
        bar_ms: Some(50.0),
    },
    Question {
        name: "max over 100 series by minute, 12 hours",
        verb: "buckets",
        path: "/api/v1/range?match=load/*/m01&from=2026-01-01T00:00:00Z&to=2026-01-01T12:00:00Z&every=1m&agg=max&by=all",
        bar_ms: None,
    },
    Question {
        name: "top 10 of 1,000 series by mean, 12 hours",
        verb: "buckets",
        path: "/api/v1/range?match=load/**&from=2026-01-01T00:00:00Z&to=2026-01-01T12:00:00Z&agg=mean&top=10",
        bar_ms: None,
    },
];
