module outrigger.dev/tests/cluster/clusterctl

go 1.26.0
