//! Store nodes that answer by script, over real QUIC and TLS.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use query_app::client::Client;
use query_app::client::targets::Targets;
use store_wire::authority::{AUTHORITY_DAYS_DEFAULT, Authority, IssueRequest};
use store_wire::clock::SystemClock;
use store_wire::endpoint::{Connection, Endpoint, EndpointOptions};
use store_wire::frame::{FrameReceiver, FrameSender};
use store_wire::identity::{Identity, Role};
use store_wire::message::{Request, Response};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// One step of an answer.
pub(crate) enum Step {
    /// Sends a frame.
    Send(Response, Bytes),
    /// Waits until the test opens the gate.
    Wait(Arc<Semaphore>),
    /// Says nothing more and keeps the stream open.
    Hang,
    /// Ends the stream in the middle.
    Cut,
}

impl From<Response> for Step {
    fn from(response: Response) -> Self {
        Self::Send(response, Bytes::new())
    }
}

type Script = Arc<dyn Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync>;

/// An authority with the identities of one cluster.
pub(crate) struct Cluster {
    dir: TempDir,
    authority: Authority,
}

/// A node that answers by script and remembers what it was asked.
pub(crate) struct FakeStore {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
    _endpoint: Endpoint,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(
            &dir.path().join("ca"),
            "test",
            AUTHORITY_DAYS_DEFAULT,
            &SystemClock,
        )
        .unwrap();
        let cluster = Self { dir, authority };
        cluster.issue(Role::Node, "node");
        cluster.issue(Role::Operator, "operator");
        cluster
    }

    pub(crate) fn issue(&self, role: Role, name: &str) -> PathBuf {
        let folder = self.folder(name);
        let request = IssueRequest::new(role, name);
        self.authority
            .issue(&request, &folder, &SystemClock)
            .unwrap();
        folder
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a node. It answers as long as the value lives.
    pub(crate) fn store(
        &self,
        script: impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync + 'static,
    ) -> FakeStore {
        let identity = Arc::new(Identity::load(&self.folder("node")).unwrap());
        let any_port = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::bind(any_port, identity, &EndpointOptions::default()).unwrap();
        let address = endpoint.local_address().unwrap().to_string();
        let asked = Arc::default();
        let node = Node {
            script: Arc::new(script),
            asked: Arc::clone(&asked),
        };
        tokio::spawn(node.serve(endpoint.clone()));
        FakeStore {
            address,
            asked,
            _endpoint: endpoint,
        }
    }

    pub(crate) fn operator(&self) -> PathBuf {
        self.folder("operator")
    }

    /// A client of these nodes.
    pub(crate) fn client(&self, targets: &str) -> Client {
        let targets = Targets::parse(targets).unwrap();
        Client::over_quic(&self.operator(), targets).unwrap()
    }

    /// The program, asking these nodes as the operator.
    pub(crate) fn command(&self, targets: &str) -> Command {
        let mut command = program();
        command
            .args(["--target", targets, "--identity"])
            .arg(self.operator());
        command
    }

    /// Runs the program to its end without holding up the nodes.
    pub(crate) async fn run(&self, targets: &str, arguments: &[&str]) -> Run {
        let mut command = self.command(targets);
        command.args(arguments);
        finish(command).await
    }
}

/// The program, without any setting from the environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_query-app")));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEMARK_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end without holding up the nodes.
pub(crate) async fn finish(mut command: Command) -> Run {
    let output = tokio::task::spawn_blocking(move || command.output());
    Run::from(output.await.unwrap().unwrap())
}

/// How a run ended and what it printed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// What a successful run printed.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The one line of a run that failed with `code` and printed no result.
    #[track_caller]
    pub(crate) fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr
    }
}

impl FakeStore {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What the node was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, of: impl Fn(&Request) -> bool) -> usize {
        self.asked().iter().filter(|request| of(request)).count()
    }
}

#[derive(Clone)]
struct Node {
    script: Script,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Node {
    async fn serve(self, endpoint: Endpoint) {
        while let Some(connection) = endpoint.accept().await {
            tokio::spawn(self.clone().converse(connection));
        }
    }

    async fn converse(self, connection: Connection) {
        while let Ok((sender, receiver)) = connection.accept().await {
            tokio::spawn(self.clone().answer(sender, receiver));
        }
    }

    async fn answer(self, mut sender: FrameSender, mut receiver: FrameReceiver) {
        let Ok(Some((request, body))) = receiver.receive::<Request>().await else {
            return;
        };
        let steps = (self.script)(&request, &body);
        self.asked.lock().unwrap().push(request);
        for step in steps {
            match step {
                Step::Send(response, body) => {
                    if sender.send(&response, &[body]).await.is_err() {
                        return;
                    }
                }
                Step::Wait(gate) => gate.acquire().await.unwrap().forget(),
                Step::Hang => sender.stopped().await,
                Step::Cut => break,
            }
        }
        // The asker may have gone; then there is nobody to tell.
        let _ = sender.finish().await;
    }
}
