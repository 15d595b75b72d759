use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::wait;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::subject::{CHANGE, Subject, condition, manifest};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

pub(crate) async fn run(_world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let well = Subject::create(kubectl, "well", &json!({})).await?;
    let writer = Writer::start(well.service().await?)?;
    refused_at_once(kubectl).await?;
    said_in_a_condition(kubectl).await?;
    names(kubectl).await?;
    quota(kubectl).await?;
    pod_security(kubectl).await?;
    unreadable(kubectl, &well).await?;
    well.ready().await?;
    let outcome = Outcome::of(writer.finish().await?).within(Duration::from_secs(5))?;
    seen("the cluster beside them served all the time");
    // Last: a Service that is made again has another address than the load knows.
    deleted_by_hand(kubectl, &well).await?;
    edited_by_hand(kubectl, &well).await?;
    wrong_while_it_runs(kubectl, &well).await?;
    Ok(outcome)
}

/// What the definition's rules know: `kubectl apply` fails, and says which field.
async fn refused_at_once(kubectl: &Kubectl) -> Result<()> {
    for (spec, named) in [
        (json!({"replicas": 4}), "1, 3, 5, 7 or 9"),
        (json!({"storage": {"size": "100Mi"}}), "storage.size"),
        (json!({"storage": {"size": "lots"}}), "storage.size"),
        (json!({"consensus": {"electionTimeout": "soon"}}), "electionTimeout"),
        (json!({"repair": {"policy": "Maybe"}}), "Unsupported value"),
        (json!({"replica": 3}), "unknown field"),
    ] {
        let said = kubectl.refused(&manifest("bad", &spec).to_string()).await?;
        ensure!(said.contains(named), "{spec} was refused with: {said}");
    }
    let shrunk = manifest("well", &json!({"storage": {"size": "900Mi"}}));
    let said = kubectl.refused(&shrunk.to_string()).await?;
    ensure!(said.contains("only grow"), "a smaller size was refused with: {said}");
    seen("what the definition's rules know is refused by kubectl apply, with field and rule");
    Ok(())
}

/// What only the API server, a kubelet or the scheduler can know.
async fn said_in_a_condition(kubectl: &Kubectl) -> Result<()> {
    let container = |more: Value| json!({"template": {"spec": {"containers": [more]}}});
    let rows = [
        ("typo", json!({"template": {"spec": {"contaners": []}}}), "Stalled", "contaners"),
        ("named", container(json!({"name": "outrigger-sidecar", "image": "x"})), "Stalled", "outrigger-"),
        (
            "ports",
            container(json!({"name": "a", "image": "x", "ports": [{"containerPort": 2379}]})),
            "Stalled",
            "2379",
        ),
    ];
    for (name, spec, kind, named) in rows {
        kubectl.apply(&manifest(name, &spec).to_string()).await?;
        let subject = Subject { kubectl: kubectl.clone(), name: name.to_owned() };
        let said = subject.told(kind).await?;
        ensure!(said.contains(named), "{name}: {kind} says: {said}");
        kubectl.run(&["delete", "raftcluster", name]).await?;
    }
    for (name, spec, named) in [
        ("pulled", json!({"sidecar": {"image": "registry.invalid/none:1"}}), "registry.invalid/none:1"),
        ("classless", json!({"storage": {"storageClassName": "no-such-class"}}), "no-such-class"),
    ] {
        kubectl.apply(&manifest(name, &spec).to_string()).await?;
        let subject = Subject { kubectl: kubectl.clone(), name: name.to_owned() };
        subject
            .until("the reason in the members' rows", |status| {
                let members = status.get("members").context("no members")?.to_string();
                ensure!(members.contains(named), "{members}");
                ensure!(condition(status, "Ready").is_some_and(|(holds, _)| !holds), "it is Ready");
                Ok(())
            })
            .await?;
        kubectl.run(&["delete", "raftcluster", name]).await?;
    }
    seen("a typo, reserved names and ports, an unknown image and a missing class are said in the status");
    Ok(())
}

/// Objects of our names, and pods of our labels, that are somebody else's.
async fn names(kubectl: &Kubectl) -> Result<()> {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken-client"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "somebody-else"}}});
    kubectl.apply(&service.to_string()).await?;
    kubectl.apply(&manifest("taken", &json!({})).to_string()).await?;
    let taken = Subject { kubectl: kubectl.clone(), name: "taken".to_owned() };
    let said = taken.told("NameConflict").await?;
    ensure!(said.contains("taken-client") && said.contains("rename or delete"), "{said}");
    let kept = kubectl.get(&["service", "taken-client"]).await?;
    ensure!(kept.pointer("/spec/selector/app").and_then(Value::as_str) == Some("somebody-else"), "{kept}");
    kubectl.run(&["delete", "service", "taken-client"]).await?;
    taken.ready().await?;
    taken.was_told("NameTaken").await?;
    kubectl.run(&["delete", "raftcluster", "taken"]).await?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "labels": {"outrigger.dev/cluster": "well"}},
        "spec": {"containers": [{"name": "a", "image": "localhost/outrigger-test/etcdctl:1", "imagePullPolicy": "Never",
            "command": ["/busybox", "sleep", "1000000"]}]}});
    kubectl.apply(&pod.to_string()).await?;
    kubectl.run(&["wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s"]).await?;
    seen("a foreign Service of our name is left alone and said; once it is gone, all goes on");
    Ok(())
}

async fn quota(kubectl: &Kubectl) -> Result<()> {
    let pods = kubectl.get(&["pods"]).await?;
    let pods = pods.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"pods": (pods + 1).to_string()}}});
    kubectl.apply(&quota.to_string()).await?;
    kubectl.apply(&manifest("crowded", &json!({})).to_string()).await?;
    let crowded = Subject { kubectl: kubectl.clone(), name: "crowded".to_owned() };
    let said = crowded.told("ObjectRefused").await?;
    ensure!(said.contains("exceeded quota: full"), "{said}");
    kubectl.run(&["delete", "resourcequota", "full"]).await?;
    crowded.ready().await?;
    kubectl.run(&["delete", "raftcluster", "crowded"]).await?;
    seen("an exceeded quota is said, and when it is raised all goes on");
    Ok(())
}

async fn pod_security(kubectl: &Kubectl) -> Result<()> {
    let level = |level: &str| format!("pod-security.kubernetes.io/enforce={level}");
    let namespace = kubectl.namespace().to_owned();
    kubectl.run(&["label", "--overwrite", "namespace", &namespace, &level("restricted")]).await?;
    kubectl.apply(&manifest("strict", &json!({})).to_string()).await?;
    let strict = Subject { kubectl: kubectl.clone(), name: "strict".to_owned() };
    let said = strict.told("ObjectRefused").await?;
    ensure!(said.contains("violates PodSecurity") && said.contains("app"), "{said}");
    ensure!(!said.contains("outrigger-sidecar"), "the sidecar itself violates it: {said}");
    kubectl.run(&["label", "--overwrite", "namespace", &namespace, &level("baseline")]).await?;
    kubectl.run(&["delete", "raftcluster", "strict"]).await?;
    seen("a pod-security denial names the user's container, and not the sidecar");
    Ok(())
}

/// One that was stored while the definition was another: no schema keeps it out, and the operator cannot read it.
async fn unreadable(kubectl: &Kubectl, well: &Subject) -> Result<()> {
    let definition = "customresourcedefinition/raftclusters.outrigger.dev";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/paused";
    let pointer = "{.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.paused}";
    let present = kubectl.run(&["get", definition, "-o", &format!("jsonpath={pointer}")]).await?;
    let replace = async |schema: &Value| {
        let patch = json!([{"op": "replace", "path": path, "value": schema}]).to_string();
        kubectl.run(&["patch", definition, "--type=json", "-p", &patch]).await
    };
    replace(&json!({"x-kubernetes-preserve-unknown-fields": true})).await?;
    let odd = Subject { kubectl: kubectl.clone(), name: "odd".to_owned() };
    // The new schema is in use a moment after it was taken.
    let stored = wait::until_ok("the odd object is stored", CHANGE, async || {
        kubectl.apply(&manifest("odd", &json!({"paused": "perhaps"})).to_string()).await
    });
    let stored = stored.await;
    replace(&serde_json::from_str(&present)?).await?;
    stored?;
    odd.was_told("Unreadable").await?;
    // One that no reader of JSON follows to its end is the same, also for an operator that begins.
    let nested = (0..200).fold(json!(1), |inner, _| json!({"a": inner}));
    kubectl.apply(&manifest("deep", &json!({"template": {"x": nested}})).to_string()).await?;
    let operators = Kubectl::new("outrigger-system");
    operators.run(&["delete", "pods", "-l", "app.kubernetes.io/instance=outrigger", "--wait=true"]).await?;
    let deep = Subject { kubectl: kubectl.clone(), name: "deep".to_owned() };
    deep.was_told("Unreadable").await?;
    let generation = well.status().await?.get("observedGeneration").cloned();
    well.patch(&json!({"sidecar": {"logLevel": "debug"}})).await?;
    let status = well.ready().await?;
    ensure!(status.get("observedGeneration") != generation.as_ref(), "{status}");
    kubectl.run(&["delete", "raftcluster", "odd", "deep"]).await?;
    seen("one that cannot be read is told of in an Event, and the others are looked after");
    Ok(())
}

async fn deleted_by_hand(kubectl: &Kubectl, well: &Subject) -> Result<()> {
    let before = well.status().await?;
    kubectl.run(&["delete", "service", "well-client", "well-peers"]).await?;
    kubectl.run(&["delete", "pdb", "well-voters"]).await?;
    kubectl.run(&["delete", "statefulset", "well", "--cascade=orphan"]).await?;
    kubectl
        .run(&[
            "patch",
            "raftcluster/well",
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status": {"phase": "QuorumLost", "voters": 9, "members": [], "leader": null}}"#,
        ])
        .await?;
    let back = async || {
        for what in ["service/well-client", "service/well-peers", "pdb/well-voters", "statefulset/well"] {
            kubectl.run(&["get", what]).await?;
        }
        anyhow::Ok(())
    };
    outrigger_tests::wait::until_ok("what was deleted", crate::subject::CHANGE, back).await?;
    let after = well.ready().await?;
    for field in ["clusterID", "voters"] {
        ensure!(
            after.get(field) == before.get(field),
            "{field} was {:?} and is {:?}",
            before.get(field),
            after.get(field)
        );
    }
    seen("Services, budget and StatefulSet deleted by hand, status edited by hand: all is as before");
    Ok(())
}

/// What a person changes on objects of ours is taken back; what makes no sense is said.
async fn edited_by_hand(kubectl: &Kubectl, well: &Subject) -> Result<()> {
    let stray = json!({"spec": {"selector": {"app": "nobody"}}});
    kubectl.patch("service/well-client", &stray).await?;
    kubectl
        .patch("pdb/well-voters", &json!({"spec": {"selector": {"matchLabels": {"app": "nobody"}}}}))
        .await?;
    let orphan = json!({"metadata": {"ownerReferences": null}});
    for what in ["service/well-client", "pdb/well-voters", "secret/well-peer-tls", "configmap/well-client"] {
        kubectl.patch(what, &orphan).await?;
    }
    wait::until_ok("selectors as they were", CHANGE, async || {
        for what in ["service/well-client", "pdb/well-voters"] {
            let said = kubectl.get(&[what]).await?.pointer("/spec/selector").cloned().unwrap_or_default();
            ensure!(!said.to_string().contains("nobody"), "{what} selects {said}");
        }
        anyhow::Ok(())
    })
    .await?;
    let status = well.ready().await?;
    ensure!(condition(&status, "NameConflict").is_none(), "its own objects stand in its way: {status}");
    // A claim that is larger than the spec: the definition's rule must not refuse every status from then on.
    let claim = "pvc/outrigger-data-well-2";
    kubectl.patch(claim, &json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}})).await?;
    kubectl.patch("raftcluster/well", &json!({"metadata": {"labels": {"looked-at": "again"}}})).await?;
    well.patch(&json!({"repair": {"unhealthyAfter": "21s"}})).await?;
    well.ready().await?;
    let status = |founding: &Value| json!({"status": {"founding": founding}}).to_string();
    let edit = async |founding: &Value| {
        let patch = ["patch", "raftcluster/well", "--subresource=status", "--type=merge", "-p"];
        kubectl.run(&[&patch[..], &[&status(founding)]].concat()).await
    };
    let before = well.status().await?;
    edit(&json!({"state": "Latched", "clusterID": null})).await?;
    let said = well.told("Stalled").await?;
    ensure!(said.contains("status.founding.clusterID is missing"), "{said}");
    edit(&Value::Null).await?;
    let after = well.ready().await?;
    ensure!(after.get("clusterID") == before.get("clusterID"), "another cluster: {after}");
    seen(
        "selectors edited by hand are put back; a claim grown by hand and a register edited by hand stop nothing for good",
    );
    Ok(())
}

/// A spec that is wrong, or an object that is refused, of a cluster that runs: it is not Ready, and the rest of the status stays true.
async fn wrong_while_it_runs(kubectl: &Kubectl, well: &Subject) -> Result<()> {
    let volumes = |name: &str| json!({"template": {"spec": {"volumes": [{"name": name, "emptyDir": {}}]}}});
    well.patch(&volumes("outrigger-mine")).await?;
    let said = well.told("Stalled").await?;
    ensure!(said.contains("spec.template.spec.volumes[0].name"), "{said}");
    let status = well.status().await?;
    ensure!(status.get("phase").and_then(Value::as_str) == Some("Stalled"), "{status}");
    let leader = well.leader().await?;
    kubectl.run(&["delete", "pod", &leader, "--wait=false"]).await?;
    well.until("another leader, though the spec is wrong", |status| {
        let found = status.pointer("/leader/name").and_then(Value::as_str);
        ensure!(found.is_some_and(|found| found != leader), "{found:?} leads");
        ensure!(condition(status, "Ready").is_some_and(|(holds, _)| !holds), "it is Ready");
        Ok(())
    })
    .await?;
    well.patch(&json!({"template": {"spec": {"volumes": null, "nodeSelectr": {}}}})).await?;
    let said = well.told("ObjectRefused").await?;
    ensure!(said.contains("nodeSelectr"), "{said}");
    let status = well.status().await?;
    ensure!(condition(&status, "Ready").is_some_and(|(holds, _)| !holds), "it is Ready: {status}");
    well.patch(&json!({"template": {"spec": {"nodeSelectr": null}}})).await?;
    well.ready().await?;
    seen("a spec that turns wrong is said, is not Ready, and hides nothing that happens meanwhile");
    Ok(())
}
