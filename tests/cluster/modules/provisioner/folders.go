package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// folders makes and removes one folder a volume. All nodes stand on one machine, so this process reaches each.
type folders struct {
	pattern string // the folder of a node's volumes, with %s for the node's name
}

var errNoNode = errors.New("no node was selected for the claim: use a StorageClass with volumeBindingMode WaitForFirstConsumer")

// Provision implements controller.Provisioner.
func (f folders) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errNoNode
	}
	if mode := o.PVC.Spec.VolumeMode; mode != nil && *mode == v1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, errors.New("block volumes are not made here: use volumeMode Filesystem")
	}
	folder := filepath.Join(fmt.Sprintf(f.pattern, o.SelectedNodeName), o.PVName)
	if err := makeVolume(folder); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("cannot make the volume's folder: %w", err)
	}
	return f.describe(o, folder), controller.ProvisioningFinished, nil
}

// makeVolume makes a folder as a fresh ext4 file system looks when it is mounted: owned by root, closed to others, and
// with a lost+found. A pod that forgets its fsGroup, or that takes any entry for data, fails here as it would elsewhere.
func makeVolume(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(folder, "lost+found"), 0o700)
}

// describe is the volume's object: bound to the node whose folder it is.
func (f folders) describe(o controller.ProvisionOptions, folder string) *v1.PersistentVolume {
	mode := v1.PersistentVolumeFilesystem
	onlyThisNode := v1.NodeSelectorRequirement{
		Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName},
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    &mode,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: folder}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{onlyThisNode},
			}}}},
		},
	}
}

// Delete implements controller.Provisioner. A folder that is gone already is what was asked for.
func (f folders) Delete(_ context.Context, pv *v1.PersistentVolume) error {
	if pv.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "the volume " + pv.Name + " is not a local one"}
	}
	if filepath.Base(pv.Spec.Local.Path) != pv.Name {
		return fmt.Errorf("the volume %s names the folder %s, which was not made for it: not removed", pv.Name, pv.Spec.Local.Path)
	}
	return os.RemoveAll(pv.Spec.Local.Path)
}
