//! From the command line to an exit code.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use crate::args::{Args, Command, Form, Local, LogFormat, Operate, Target, Verb};
use crate::cluster::build::Settings;
use crate::controller;
use crate::local::control::{Request, Response};
use crate::local::layout::Layout;
use crate::local::runner::chain;
use crate::local::{LocalError, Options, run, speak};
use crate::output::{self, Screen};

/// Does what the command line says; what goes wrong is printed on standard error.
pub async fn execute(args: Args) -> ExitCode {
    let Local { verb, run: how } = match args.command {
        Command::Local(local) => local,
        Command::Run(how) => return operate(how).await,
    };
    let done = match verb {
        Some(verb) => ask(verb).await,
        None => start(how.options(io::stdout().is_terminal())).await.map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            output::line(&mut io::stderr(), &format!("outrigger-operator: {}", chain(&error))).ok();
            ExitCode::from(error.exit_code())
        }
    }
}

/// The operator on Kubernetes; logs on standard error.
async fn operate(how: Operate) -> ExitCode {
    // What goes wrong with a call is in our own words; the client's would have the whole answer in them, users' objects and all.
    let usual = "warn,kube_client::client=off,outrigger_operator=info";
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    // A standard error that takes nothing leaves nobody to tell.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    match how.log_format {
        LogFormat::Json => subscriber.json().try_init().ok(),
        LogFormat::Text => subscriber.try_init().ok(),
    };
    let lifetimes = match how.lifetimes() {
        Ok(lifetimes) => lifetimes,
        Err(wrong) => {
            output::line(&mut io::stderr(), &format!("outrigger-operator: {wrong}")).ok();
            return ExitCode::from(2);
        }
    };
    let identity = how.pod_name.unwrap_or_else(host_name);
    let election = how.leader_election.then(|| controller::Election {
        namespace: how.operator_namespace.clone(),
        lease: how.lease_name,
        identity,
    });
    let settings = Settings {
        sidecar_image: how.sidecar_image,
        cluster_domain: how.cluster_domain,
        operator_namespace: how.operator_namespace,
    };
    let (namespaces, http) = (how.namespaces, how.http_listen);
    let rolls_at_once = how.rolls_at_once;
    let options = controller::Options { namespaces, settings, lifetimes, rolls_at_once, http, election };
    match controller::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::line(&mut io::stderr(), &format!("outrigger-operator: {}", chain(&error))).ok();
            ExitCode::FAILURE
        }
    }
}

/// A process without a pod's name goes by its host's and its own number.
fn host_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

async fn start(options: Options) -> Result<(), LocalError> {
    let redraw = !options.plain;
    let mut stdout = io::stdout();
    run(options, Screen::new(&mut stdout, redraw)).await
}

async fn ask(verb: Verb) -> Result<ExitCode, LocalError> {
    let (target, request, form) = match verb {
        Verb::Scale { target, replicas } => (target, Request::Scale { replicas }, Form::Table),
        Verb::Status { target, output } => (target, Request::Status, output),
        Verb::Stop { target } => (target, Request::Stop, Form::Table),
        Verb::Delete { target } => (target, Request::Delete, Form::Table),
        Verb::Wipe { target, ordinal, force } => (target, Request::Wipe { ordinal, force }, Form::Table),
    };
    let Target { name, data_dir } = target;
    let root = data_dir.unwrap_or_else(|| Layout::default_root(&name));
    let layout = Layout::new(root);
    let response = speak::speak(&name, &layout, &request).await?;
    Ok(print(&mut io::stdout(), &mut io::stderr(), &response, form))
}

fn print(out: &mut dyn Write, err: &mut dyn Write, response: &Response, form: Form) -> ExitCode {
    let (written, code) = match (response, form) {
        (Response::Done { text }, _) => (output::line(out, text), ExitCode::SUCCESS),
        (Response::Refused { text, misasked }, _) => {
            let code = if *misasked { ExitCode::from(2) } else { ExitCode::FAILURE };
            (output::line(err, &format!("outrigger-operator: {text}")), code)
        }
        (Response::Ending, _) => {
            (output::line(err, "outrigger-operator: the run is ending"), ExitCode::FAILURE)
        }
        (Response::Status { view }, Form::Table) => {
            (output::line(out, output::render(view).trim_end()), ExitCode::SUCCESS)
        }
        (Response::Status { view }, Form::Json) => {
            let json = serde_json::to_string_pretty(view).unwrap_or_default();
            (output::line(out, &json), ExitCode::SUCCESS)
        }
    };
    // A reader that went away (`| head`) has seen enough.
    written.ok();
    code
}
