//! What the objects must hold, whatever else is in them.

use serde_json::json;

use super::*;
use crate::cluster::validate::validate;
use crate::crd::RaftCluster;

fn made(spec: Value) -> Children {
    with_pods(spec, 3)
}

fn with_pods(spec: Value, pods: u8) -> Children {
    named("orders", spec, pods)
}

fn named(name: &str, spec: Value, pods: u8) -> Children {
    let cluster = RaftCluster::new(name, serde_json::from_value(spec).unwrap());
    let wanted = validate(&cluster).unwrap();
    let owner = OwnerReference {
        api_version: "outrigger.dev/v1alpha1".into(),
        kind: "RaftCluster".into(),
        name: "orders".into(),
        uid: "u".into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let settings = Settings {
        sidecar_image: "example.test/outrigger:1".into(),
        cluster_domain: "cluster.local".into(),
        operator_namespace: "outrigger-system".into(),
    };
    let needed = if pods > 1 { Needed::AtLeast(pods / 2 + 1) } else { Needed::None };
    children(Blueprint {
        claim_size: &wanted.storage_size,
        wanted: &wanted,
        spec: &cluster.spec,
        owner: &owner,
        pods,
        needed,
        settings: &settings,
    })
}

fn pod(children: &Children) -> &Value {
    &children.stateful_set["spec"]["template"]
}

#[test]
fn the_sidecar_comes_first_and_what_the_user_wrote_stays() {
    let children = made(json!({"template": {
        "metadata": {"labels": {"app": "shop", "outrigger.dev/cluster": "stolen"}, "annotations": {"a": "b"}},
        "spec": {
            "initContainers": [{"name": "migrate", "image": "m"}],
            "containers": [{"name": "app", "image": "x", "typo": 1}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 5,
            "securityContext": {"fsGroup": 7},
        },
    }}));
    let pod = pod(&children);
    assert_eq!(pod["metadata"]["labels"]["app"], "shop");
    assert_eq!(pod["metadata"]["labels"][CLUSTER_LABEL], "orders", "the selector's label is not the user's");
    assert_eq!(pod["metadata"]["annotations"]["a"], "b");
    assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "app");
    let first = &pod["spec"]["initContainers"][0];
    assert_eq!((&first["name"], &first["restartPolicy"]), (&json!("outrigger-sidecar"), &json!("Always")));
    assert_eq!(first["image"], "example.test/outrigger:1");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "migrate");
    assert_eq!(pod["spec"]["containers"], json!([{"name": "app", "image": "x", "typo": 1}]));
    let volumes: Vec<&Value> =
        pod["spec"]["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(volumes, ["outrigger-no-token", "outrigger-peer-tls", "v"]);
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 15, "the sidecar ends after the application");
    assert_eq!(pod["spec"]["securityContext"]["fsGroup"], 7);
}

#[test]
fn labels_that_select_nothing_of_ours_are_the_users() {
    let labels = json!({"app.kubernetes.io/name": "shop", "outrigger.dev/cluster": "stolen"});
    let children = made(json!({"template": {"metadata": {"labels": labels}}}));
    let labels = &pod(&children)["metadata"]["labels"];
    assert_eq!(
        (&labels["app.kubernetes.io/name"], &labels[CLUSTER_LABEL]),
        (&json!("shop"), &json!("orders"))
    );
    assert_eq!(labels["app.kubernetes.io/managed-by"], "outrigger-operator");
}

#[test]
fn what_has_a_wrong_type_reaches_the_api_server_as_it_is() {
    let spec = json!({"containers": {"name": "app"}, "terminationGracePeriodSeconds": "60"});
    let children = made(json!({"template": {"spec": spec}}));
    let spec = &pod(&children)["spec"];
    assert_eq!(
        (&spec["containers"], &spec["terminationGracePeriodSeconds"]),
        (&json!({"name": "app"}), &json!("60"))
    );
}

#[test]
fn an_empty_template_is_a_pod_with_the_sidecar_alone() {
    for spec in [json!({}), json!({"template": {}}), json!({"template": {"metadata": null, "spec": null}})] {
        let children = made(spec.clone());
        let pod = pod(&children);
        assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1, "{spec}");
        assert_eq!(pod["spec"]["containers"][0]["name"], "outrigger-sidecar", "{spec}");
        assert_eq!(
            pod["spec"]["containers"][0]["restartPolicy"],
            Value::Null,
            "only a sidecar has one of its own"
        );
        assert_eq!(pod["spec"]["initContainers"], Value::Null, "{spec}");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 40, "{spec}");
    }
}

#[test]
fn the_members_certificates_are_the_sidecars_alone() {
    let children = made(json!({"template": {"spec": {"containers": [{"name": "app", "image": "x"}]}}}));
    let spec = &pod(&children)["spec"];
    let volume = json!({"name": "outrigger-peer-tls", "secret": {"secretName": "orders-peer-tls", "defaultMode": 0o440}});
    assert!(spec["volumes"].as_array().unwrap().contains(&volume), "{}", spec["volumes"]);
    let sidecar = &spec["initContainers"][0];
    let mount =
        json!({"name": "outrigger-peer-tls", "mountPath": "/etc/outrigger/peer-tls", "readOnly": true});
    assert!(sidecar["volumeMounts"].as_array().unwrap().contains(&mount), "{sidecar}");
    assert_eq!(
        sidecar["env"][1],
        json!({"name": "OUTRIGGER_PEER_TLS_DIR", "value": "/etc/outrigger/peer-tls"})
    );
    // A variable is expanded only after the one that it names.
    assert_eq!(sidecar["env"][0]["name"], "POD_NAME");
    assert_eq!(sidecar["env"][2], json!({"name": "OUTRIGGER_PEER_TLS_NAME", "value": "$(POD_NAME)"}));
    assert!(!spec["containers"].to_string().contains("peer-tls"));
    assert!(!children.stateful_set.to_string().contains("orders-ca"), "no pod holds the authority's key");
}

#[test]
fn the_sidecar_is_restricted_and_holds_no_token() {
    let children = made(json!({}));
    let sidecar = &pod(&children)["spec"]["containers"][0];
    let security = &sidecar["securityContext"];
    for (field, value) in [
        ("runAsNonRoot", json!(true)),
        ("readOnlyRootFilesystem", json!(true)),
        ("allowPrivilegeEscalation", json!(false)),
        ("capabilities", json!({"drop": ["ALL"]})),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(security[field], value, "{field}");
    }
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let hidden = mounts.iter().find(|m| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(hidden.unwrap()["name"], "outrigger-no-token");
}

#[test]
fn nothing_in_the_template_changes_with_the_number_of_pods() {
    let (three, five) = (with_pods(json!({}), 3), with_pods(json!({"replicas": 5}), 5));
    assert_eq!(pod(&three), pod(&five));
    assert_eq!(five.stateful_set["spec"]["replicas"], 5);
    assert_eq!(three, with_pods(json!({}), 3), "the same input gives the same objects");
}

#[test]
fn pods_are_in_parallel_restarted_by_nobody_else_and_their_volumes_stay() {
    let set = made(json!({"storage": {"size": "4Gi", "storageClassName": "fast"}})).stateful_set;
    let spec = &set["spec"];
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["updateStrategy"], json!({"type": "OnDelete"}));
    assert_eq!(
        spec["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    let claim = &spec["volumeClaimTemplates"][0]["spec"];
    assert_eq!(claim["resources"]["requests"]["storage"], "4Gi");
    assert_eq!(claim["storageClassName"], "fast");
    assert!(
        made(json!({})).stateful_set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"].is_null()
    );
    assert_eq!(spec["selector"]["matchLabels"], json!({"outrigger.dev/cluster": "orders"}));
}

#[test]
fn pods_have_names_before_they_are_ready() {
    let headless = made(json!({})).headless.spec.unwrap();
    assert_eq!(headless.cluster_ip.as_deref(), Some("None"));
    assert_eq!(headless.publish_not_ready_addresses, Some(true));
}

#[test]
fn the_budget_is_the_quorum_as_a_number_and_one_voter_has_none() {
    for (pods, min) in [(3, 2), (5, 3), (7, 4)] {
        let Budget::Wanted(budget) = with_pods(json!({"replicas": pods}), pods).budget else {
            unreachable!()
        };
        assert_eq!(
            budget.spec.unwrap().min_available,
            Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(min))
        );
    }
    assert_eq!(with_pods(json!({"replicas": 1}), 1).budget, Budget::Unwanted);
}

#[test]
fn every_port_but_the_peers_is_open_to_anyone() {
    let ingress = made(json!({})).policy.spec.unwrap().ingress.unwrap();
    let value = serde_json::to_value(&ingress).unwrap();
    assert_eq!(value[0]["ports"], json!([{"protocol": "TCP", "port": 2380}]));
    assert_eq!(value[0]["from"].as_array().unwrap().len(), 2);
    assert!(value[1].get("from").is_none());
    let open = |protocol: &str, port: i64| {
        value[1]["ports"].as_array().unwrap().iter().any(|range| {
            let first = range["port"].as_i64().unwrap();
            let last = range["endPort"].as_i64().unwrap_or(first);
            range["protocol"] == protocol && (first..=last).contains(&port)
        })
    };
    for port in [1, 80, 2379, 2381, 65535] {
        assert!(open("TCP", port) && open("UDP", port) && open("SCTP", port), "{port}");
    }
    assert!(!open("TCP", 2380), "the peers' port is for peers");
}

#[test]
fn members_are_spread_over_nodes_and_zones_unless_the_user_says_where_pods_go() {
    let constraints = |template: Value| {
        let children =
            made(json!({"replicas": 3, "storage": {"size": "4Gi"}, "template": {"spec": template}}));
        pod(&children).pointer("/spec/topologySpreadConstraints").cloned()
    };
    let ours = constraints(json!({})).unwrap();
    assert_eq!(ours[0]["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(ours[1]["topologyKey"], "topology.kubernetes.io/zone");
    assert_eq!(ours[0]["whenUnsatisfiable"], "ScheduleAnyway");
    assert_eq!(constraints(json!({"topologySpreadConstraints": []})), Some(json!([])));
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}});
    assert_eq!(constraints(json!({"affinity": apart})), None);
}

#[test]
fn applications_elsewhere_are_told_where_clients_are_served() {
    let config = made(json!({})).config;
    assert_eq!(config.metadata.name.as_deref(), Some("orders-client"));
    let data = config.data.unwrap();
    let at = format!("orders-client.{}.svc.cluster.local:2379", config.metadata.namespace.unwrap());
    assert_eq!(data["OUTRIGGER_ENDPOINT"], at);
    assert_eq!(data["ETCDCTL_ENDPOINTS"], format!("http://{at}"));
}

#[test]
fn no_two_clusters_have_an_object_of_one_kind_and_name_however_alike_their_names_are() {
    let names = ["a", "a-0", "a-peers", "a-client", "a-ca", "a-peer-tls", "a-peers-client", "a-client-peers"];
    let mut seen = std::collections::BTreeMap::new();
    for cluster in names {
        let children = named(cluster, json!({"replicas": 3, "storage": {"size": "4Gi"}}), 3);
        let of =
            |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| meta.name.clone().unwrap();
        let set = children.stateful_set["metadata"]["name"].as_str().unwrap().to_owned();
        let pods = (0..3).map(|pod| format!("{set}-{pod}"));
        let claims: Vec<String> = pods.clone().map(|pod| claim_name(&pod)).collect();
        let objects = [("StatefulSet", set.clone())]
            .into_iter()
            .chain([("Service", of(&children.headless.metadata)), ("Service", of(&children.client.metadata))])
            .chain([("ConfigMap", of(&children.config.metadata))])
            .chain([("NetworkPolicy", of(&children.policy.metadata))])
            .chain([("PodDisruptionBudget", budget_name(&ClusterName(cluster.into())))])
            .chain([("Secret", peer_tls_name(&ClusterName(cluster.into())))])
            .chain([("Secret", authority_name(&ClusterName(cluster.into())))])
            .chain(claims.into_iter().map(|claim| ("PersistentVolumeClaim", claim)))
            .chain(pods.map(|pod| ("Pod", pod)));
        for object in objects {
            let other = seen.insert(object.clone(), cluster);
            assert_eq!(other, None, "{object:?} is {cluster}'s, too");
        }
    }
}
