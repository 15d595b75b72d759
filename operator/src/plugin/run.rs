//! From the command line to an exit code.
//!
//! May import: everything of this room. Deliberately absent: what is shown (`view`, `render`).

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};

use super::args::{Args, Form, Place, Status, Verb};
use super::errors::PluginError;
use super::render::render;
use super::seen::Eyes;
use super::view::{View, view};
use super::{ask, errors};
use crate::local::runner::chain;
use crate::output::{self, CLEAR};

/// How long --watch waits between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Does what the command line says; what goes wrong is printed on standard error.
pub async fn execute(args: Args) -> ExitCode {
    match dispatch(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &PluginError) {
    // A closed standard error leaves nobody to tell.
    output::line(&mut io::stderr(), &format!("kubectl outrigger: {}", chain(error))).ok();
}

async fn dispatch(args: Args) -> Result<(), PluginError> {
    let (client, namespace) = connect(&args.place).await?;
    match args.verb {
        Verb::Status(how) => {
            let eyes = Eyes { client: &client, namespace: &namespace, name: &how.name };
            if how.watch { watch(&eyes, &how).await } else { once(&eyes, &how).await }
        }
        Verb::Transfer { name, to } => {
            let eyes = Eyes { client: &client, namespace: &namespace, name: &name };
            transfer(&eyes, to).await
        }
    }
}

/// The client and the namespace that are meant.
async fn connect(place: &Place) -> Result<(Client, String), PluginError> {
    let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
    let unusable = |error| PluginError::Kubeconfig(Box::new(error));
    let config = match &place.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?
        }
        None if place.context.is_some() => Config::from_kubeconfig(&options).await.map_err(unusable)?,
        None => Config::infer().await.map_err(|error| PluginError::NoConfig(Box::new(error)))?,
    };
    let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| PluginError::Client(Box::new(error)))?;
    Ok((client, namespace))
}

async fn look(eyes: &Eyes<'_>, how: &Status) -> Result<View, PluginError> {
    let seen = eyes.look(!how.no_exec).await?;
    Ok(view(&seen, &Time(Timestamp::now())))
}

async fn once(eyes: &Eyes<'_>, how: &Status) -> Result<(), PluginError> {
    let view = look(eyes, how).await?;
    let text = match how.output {
        Form::Table => render(&view).trim_end().to_owned(),
        Form::Json => serde_json::to_string_pretty(&view).unwrap_or_default(),
    };
    // A reader that went away (`| head`) has seen enough.
    output::line(&mut io::stdout(), &text).ok();
    Ok(())
}

/// Looks again and again, until Ctrl-C or until nobody reads on. A look that fails is told of, and the next one may succeed.
async fn watch(eyes: &Eyes<'_>, how: &Status) -> Result<(), PluginError> {
    // What can never succeed, such as a wrong name, ends it at once.
    let mut view = look(eyes, how).await?;
    let redraw = io::stdout().is_terminal() && how.output == Form::Table;
    let mut last = None;
    loop {
        let lasting = Some(view.lasting());
        if redraw || lasting != last {
            let text = match how.output {
                Form::Table => render(&view),
                Form::Json => serde_json::to_string(&view).unwrap_or_default(),
            };
            let lead = if redraw { CLEAR } else { "" };
            let mut out = io::stdout();
            if writeln!(out, "{lead}{}", text.trim_end()).and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
            last = lasting;
        }
        view = loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            match look(eyes, how).await {
                Ok(view) => break view,
                Err(gone @ errors::PluginError::NoCluster { .. }) => return Err(gone),
                Err(error) => complain(&error),
            }
        };
    }
}

async fn transfer(eyes: &Eyes<'_>, to: String) -> Result<(), PluginError> {
    let (cluster, pods) = tokio::try_join!(eyes.cluster(), eyes.members())?;
    let pods: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
    if !pods.contains(&to) {
        return Err(PluginError::NoPod { given: to, pods });
    }
    let said = ask::transfer(&eyes.pods(), &to).await?;
    output::line(&mut io::stdout(), &format!("raftcluster.outrigger.dev/{}: {said}", cluster.name_any()))
        .ok();
    Ok(())
}
