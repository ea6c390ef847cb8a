//! `dashboard`: the web page of a Tidemark cluster.

#[cfg(not(target_arch = "wasm32"))]
mod cli {
    use std::io::IsTerminal as _;
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::sync::Arc;

    use anyhow::{Context, Result};
    use clap::Parser;
    use dashboard::server::{Exposure, check_address, router, serve};
    use query_app::client::Client;
    use query_app::client::targets::Targets;
    use query_app::serve::{GOODBYE_TIMEOUT, shutdown_signal};
    use store_wire::clock::SystemClock;
    use tokio::net::TcpListener;
    use tracing_subscriber::EnvFilter;

    /// Serves the web page of a Tidemark cluster: pick series, see them drawn, live.
    #[derive(Debug, Parser)]
    #[command(
        name = "dashboard",
        version,
        about,
        after_help = "Example: dashboard --target store-1,store-2,store-3 --identity /etc/tidemark/dashboard"
    )]
    struct Arguments {
        /// Nodes to ask, in this order; any node of the cluster will do
        #[arg(
            long,
            env = "TIDEMARK_TARGET",
            value_name = "HOST[:PORT]",
            value_delimiter = ',',
            num_args = 1..,
            default_value = "127.0.0.1:7400"
        )]
        target: Vec<String>,
        /// Folder with cert.pem, key.pem and ca.pem of a reader or operator
        #[arg(long, env = "TIDEMARK_IDENTITY", value_name = "DIR")]
        identity: PathBuf,
        /// Where to listen
        #[arg(
            long,
            env = "TIDEMARK_HTTP",
            value_name = "ADDR",
            default_value = "127.0.0.1:3000"
        )]
        http: SocketAddr,
        /// Listen on an address that other machines reach, though there is no log-in
        #[arg(long, env = "TIDEMARK_ALLOW_OPEN")]
        allow_open: bool,
    }

    pub(super) fn main() -> ExitCode {
        let arguments = Arguments::parse();
        tracing_subscriber::fmt()
            .with_env_filter(
                EnvFilter::try_from_env("TIDEMARK_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
            )
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        let exposure = if arguments.allow_open {
            Exposure::Open
        } else {
            Exposure::Loopback
        };
        if let Err(error) = check_address(arguments.http, exposure) {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
        match run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    #[tokio::main]
    async fn run(arguments: &Arguments) -> Result<()> {
        let targets = Targets::parse(&arguments.target.join(","))?;
        let client = Client::over_quic(&arguments.identity, targets).with_context(|| {
            format!(
                "cannot use the identity in {}",
                arguments.identity.display()
            )
        })?;
        let shutdown = shutdown_signal().context("cannot listen for signals")?;
        let listener = TcpListener::bind(arguments.http)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.http))?;
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        let api = query_app::api::router(client.clone());
        println!("dashboard ready http={address}");
        let subscribers = client.clone();
        let shutdown = async move {
            shutdown.await;
            subscribers.end_tails();
        };
        let served = serve(listener, router(api, Arc::new(SystemClock)), shutdown).await;
        client.tails_ended(GOODBYE_TIMEOUT).await;
        served.context("the listener failed")
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    cli::main()
}

/// The browser part is the library; this program is for servers.
#[cfg(target_arch = "wasm32")]
fn main() {}
