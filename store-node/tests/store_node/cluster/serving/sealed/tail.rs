//! Live data: what a subscriber gets, wherever it goes on.

use std::collections::HashMap;

use sensor_model::SeriesId;
use store_node::command::{Position, append_head};
use store_node::state::Outcome;
use store_wire::batch::BatchView;
use store_wire::client::ResponseStream;

use super::*;

/// Subscriptions that one identity may have on a node.
const OWN_MAX: usize = 64;
/// Streams of a connection.
const STREAMS_MAX: usize = 16;

/// Entries as a subscriber gets them: index, and series and times in their order.
type Entries = Vec<(u64, Vec<(String, i64)>)>;

/// A stream of live data.
struct Followed {
    _connection: Connection,
    stream: ResponseStream,
    series: HashMap<u64, SeriesDescription>,
    /// Where it is.
    at: Token,
}

impl Followed {
    async fn begin(
        client: &Client,
        cluster: &Cluster,
        node: u64,
        pattern: &str,
        after: Option<u64>,
    ) -> Result<Self, WireError> {
        let connection = client.connect(cluster, node, Protocol::Query).await;
        Self::on(connection, pattern, after).await
    }

    async fn on(
        connection: Connection,
        pattern: &str,
        after: Option<u64>,
    ) -> Result<Self, WireError> {
        let question = Request::Tail {
            patterns: vec![Pattern::new(pattern).unwrap()],
            after: after.map(|index| Token { shard: 0, index }),
        };
        let asked = request(&connection, &question, Bytes::new(), Instant::now() + NEVER);
        let mut stream = asked.await.unwrap();
        match within(stream.next()).await {
            Ok(Some((Response::Tailing { after: at, .. }, _))) => Ok(Self {
                _connection: connection,
                stream,
                series: HashMap::new(),
                at,
            }),
            Err(QueryError::Failed(error)) => Err(error),
            other => panic!("{other:?} instead of a beginning"),
        }
    }

    /// What comes until `through` is passed.
    async fn until(&mut self, through: u64) -> Result<Entries, WireError> {
        let mut entries = Entries::new();
        while self.at.index < through {
            let (response, body) = match within(self.stream.next()).await {
                Ok(Some(frame)) => frame,
                Err(QueryError::Failed(error)) => return Err(error),
                other => panic!("{other:?} instead of a frame"),
            };
            match response {
                Response::Declared { series } => {
                    for (id, series) in series {
                        let twice = self.series.insert(id, series);
                        assert_eq!(twice, None, "each is declared once");
                    }
                }
                Response::Tailed { position } => {
                    assert!(position > self.at, "{position} after {}", self.at);
                    self.at = position;
                    entries.push((position.index, self.decoded(body)));
                }
                Response::Passed { position, .. } => {
                    assert!(position >= self.at, "{position} after {}", self.at);
                    self.at = position;
                }
                other => panic!("{other:?} has no place in a tail"),
            }
        }
        Ok(entries)
    }

    fn decoded(&self, body: Bytes) -> Vec<(String, i64)> {
        let batch = BatchView::parse_rewritten(body).unwrap();
        let mut readings = Vec::new();
        for (id, chunk) in batch.chunks().slices() {
            let path = self.series[&id].path.as_str();
            let columns = column_codec::parse(chunk).unwrap().decode().unwrap();
            readings.extend(columns.times.iter().map(|time| (path.to_owned(), *time)));
        }
        readings
    }
}

/// The command of a batch of `producer`; a write by hand without one.
fn append(sequence: Option<u64>, chunks: &[(u64, &Columns)]) -> Bytes {
    let position = sequence.map(|sequence| Position {
        producer: "device/press",
        epoch: 1,
        sequence,
        skipped: 0,
        dropped_readings: 0,
    });
    let mut out = Vec::new();
    append_head(position.as_ref(), &mut out).unwrap();
    let batch = BatchView::parse(batch(chunks)).unwrap();
    let same = |number| Some(SeriesId(number));
    batch.rewrite_into(&mut out, same).unwrap();
    out.into()
}

impl Cluster {
    /// Series 0 and 1 of `line`, 2 of `safe`, and the producer.
    async fn with_series(&self) {
        let series = [
            description("line/f", Kind::F64),
            description("line/b", Kind::Bool),
            description("safe/f", Kind::F64),
        ];
        self.commit(command::open_series(&series)).await;
        self.commit(command::open_producer("device/press")).await;
    }

    /// Commits a batch; gives its index, and whether its readings were applied.
    async fn append(&self, sequence: Option<u64>, chunks: &[(u64, &Columns)]) -> (u64, bool) {
        let leader = self.replica(self.leader().await);
        let proposed = within(leader.propose(append(sequence, chunks))).await;
        let proposed = proposed.unwrap();
        let is_applied = matches!(proposed.outcome, Outcome::Applied { .. });
        (proposed.token.index, is_applied)
    }
}

/// Batches that come once, twice and thrice, out of order and of the wrong kind, sealed in between,
/// with nodes that were started again: the entries whose readings were applied, and the last index.
async fn eventful() -> (Cluster, Entries, u64) {
    let mut cluster = Cluster::adjusted(3, |config| config.log_keep_bytes = 64 << 20).await;
    cluster.with_series().await;
    let mut expected = Entries::new();
    let mut time = 0;
    for sequence in 1..=16 {
        let floats = floats(time..time + 3);
        let flag = Columns {
            times: vec![time],
            values: Values::Bool(vec![true]),
        };
        time += 3;
        let of = |path: &str, columns: &Columns| {
            let path = path.to_owned();
            let times = columns.times.clone().into_iter();
            times
                .map(move |time| (path.clone(), time))
                .collect::<Vec<_>>()
        };
        let mut readings = of("line/f", &floats);
        readings.extend(of("line/b", &flag));
        let chunks: [(u64, &Columns); 3] = [(0, &floats), (2, &floats), (1, &flag)];
        // Ahead of its turn, or of another kind: refused when it is applied.
        assert!(!cluster.append(Some(sequence + 3), &chunks).await.1);
        assert!(!cluster.append(Some(sequence), &[(0, &flag)]).await.1);
        for again in 0..=sequence % 3 {
            let (index, is_applied) = cluster.append(Some(sequence), &chunks).await;
            assert_eq!(is_applied, again == 0, "once");
            if is_applied {
                expected.push((index, readings.clone()));
            }
        }
        if sequence % 4 == 0 {
            let (index, is_applied) = cluster.append(None, &[(0, &floats)]).await;
            assert!(is_applied);
            expected.push((index, of("line/f", &floats)));
        }
        if sequence % 6 == 0 {
            let manifest = cluster.sealed().await;
            for id in 1..=3 {
                cluster.purged(id, manifest.position.index).await;
            }
            let restarted = sequence / 6;
            cluster.stop(restarted).await;
            cluster.start(restarted).await;
            cluster.ready(restarted).await;
        }
    }
    let last = expected.last().unwrap().0;
    for id in 1..=3 {
        let replica = cluster.replica(id);
        until(|| (replica.applied().index >= last).then_some(())).await;
    }
    (cluster, expected, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_every_position_every_node_sends_each_applied_reading_once_and_in_order() {
    let (cluster, expected, last) = eventful().await;
    let operator = Client::operator(&cluster);
    for node in 1..=3 {
        for after in 0..=last {
            let begun = Followed::begin(&operator, &cluster, node, "line/**", Some(after)).await;
            let entries = begun.unwrap().until(last).await.unwrap();
            let followed = expected.iter().filter(|(index, _)| *index > after);
            let followed: Entries = followed.cloned().collect();
            assert_eq!(entries, followed, "node {node} after {after}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_later_comes_as_it_is_committed_and_positions_pass_what_is_not_asked_for()
{
    let cluster = one_node().await;
    cluster.with_series().await;
    let operator = Client::operator(&cluster);
    let mut followed = Followed::begin(&operator, &cluster, 1, "line/**", None)
        .await
        .unwrap();
    let mut expected = Entries::new();
    for time in 0..3 {
        let (index, _) = cluster.append(None, &[(0, &floats(time..time + 1))]).await;
        expected.push((index, vec![("line/f".to_owned(), time)]));
        assert_eq!(followed.until(index).await.unwrap(), expected.split_off(0));
    }
    let (index, _) = cluster.append(None, &[(2, &floats(7..8))]).await;
    assert_eq!(followed.until(index).await.unwrap(), Entries::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_there_is_gone_and_said_so() {
    let cluster = one_node().await;
    cluster.with_series().await;
    let (first, _) = cluster.append(None, &[(0, &floats(0..1))]).await;
    let sealed = cluster.sealed().await.position.index;
    cluster.purged(1, sealed).await;
    let operator = Client::operator(&cluster);
    let begin = async |after| {
        let begun = Followed::begin(&operator, &cluster, 1, "line/**", Some(after)).await;
        begun.map(|followed| followed.at.index)
    };
    for after in [first, sealed - 1] {
        let error = begin(after).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Gone, "{error}");
        assert!(error.message.contains(&format!("0-{after}")), "{error}");
    }
    assert_eq!(begin(sealed).await, Ok(sealed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_took_a_manifest_over_has_nothing_of_before() {
    let mut cluster = Cluster::formed(3).await;
    cluster.with_series().await;
    let away = cluster.follower().await;
    cluster.stop(away).await;
    let (first, _) = cluster.append(None, &[(0, &floats(0..1))]).await;
    let sealed = cluster.sealed().await.position.index;
    for id in (1..=3).filter(|id| *id != away) {
        cluster.purged(id, sealed).await;
    }
    cluster.start(away).await;
    cluster.ready(away).await;
    let (last, _) = cluster.append(None, &[(0, &floats(1..2))]).await;
    let operator = Client::operator(&cluster);
    let begun = Followed::begin(&operator, &cluster, away, "line/**", Some(first)).await;
    assert_eq!(begun.err().map(|error| error.code), Some(ErrorCode::Gone));
    let begun = Followed::begin(&operator, &cluster, away, "line/**", Some(sealed)).await;
    let entries = begun.unwrap().until(last).await.unwrap();
    assert_eq!(entries, [(last, vec![("line/f".to_owned(), 1)])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_what_it_may_read() {
    let cluster = one_node().await;
    cluster.with_series().await;
    let mut wanted = IssueRequest::new(Role::Reader, "guest");
    wanted.read = vec![Pattern::new("safe/**").unwrap()];
    let guest = Client::of(&cluster, &wanted);
    let mut followed = Followed::begin(&guest, &cluster, 1, "**", None)
        .await
        .unwrap();
    let one = floats(0..1);
    let (index, _) = cluster.append(None, &[(0, &one), (2, &one)]).await;
    let entries = followed.until(index).await.unwrap();
    assert_eq!(entries, [(index, vec![("safe/f".to_owned(), 0)])]);
    for (pattern, code) in [
        ("line/f", ErrorCode::Forbidden),
        ("safe/none", ErrorCode::NotFound),
    ] {
        let begun = Followed::begin(&guest, &cluster, 1, pattern, None).await;
        assert_eq!(begun.err().map(|error| error.code), Some(code), "{pattern}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_identity_may_have_so_many_subscriptions_and_no_more_until_one_ends() {
    let cluster = one_node().await;
    cluster.with_series().await;
    let operator = Client::operator(&cluster);
    let mut followed = Vec::new();
    for _ in 0..OWN_MAX / STREAMS_MAX {
        let connection = operator.connect(&cluster, 1, Protocol::Query).await;
        for _ in 0..STREAMS_MAX {
            let begun = Followed::on(connection.clone(), "line/**", None).await;
            followed.push(begun.unwrap());
        }
    }
    let begin = || Followed::begin(&operator, &cluster, 1, "line/**", None);
    let error = begin().await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Overloaded, "{error}");
    assert!(error.message.contains("64 subscribers"), "{error}");
    let guest = Client::of(&cluster, &IssueRequest::new(Role::Operator, "other"));
    let other = Followed::begin(&guest, &cluster, 1, "line/**", None).await;
    other.unwrap();
    followed.pop();
    within(async { while begin().await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_sends_its_subscribers_elsewhere() {
    let mut cluster = one_node().await;
    cluster.with_series().await;
    let operator = Client::operator(&cluster);
    let mut followed = Followed::begin(&operator, &cluster, 1, "line/**", None)
        .await
        .unwrap();
    let end = async { followed.until(u64::MAX).await.unwrap_err() };
    let (error, ()) = tokio::join!(end, cluster.stop(1));
    assert_eq!(error.code, ErrorCode::Draining);
}
