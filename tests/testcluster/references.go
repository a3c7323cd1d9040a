package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// keys returns the keys of a ConfigMap or Secret, or a kubelet's words about its absence. An API server that does not
// answer counts as an object that is there: the tests are not about that.
func (v *view) keys(kind, name string) (keys map[string]bool, missing string) {
	keys = map[string]bool{}
	var err error
	if kind == "secret" {
		var secret *corev1.Secret
		if secret, err = v.node.client.CoreV1().Secrets(v.pod.Namespace).Get(v.ctx, name, metav1.GetOptions{}); err == nil {
			for key := range secret.Data {
				keys[key] = true
			}
		}
	} else {
		var config *corev1.ConfigMap
		if config, err = v.node.client.CoreV1().ConfigMaps(v.pod.Namespace).Get(v.ctx, name, metav1.GetOptions{}); err == nil {
			for key := range config.Data {
				keys[key] = true
			}
			for key := range config.BinaryData {
				keys[key] = true
			}
		}
	}
	if apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("%s %q not found", kind, name)
	}
	return keys, ""
}

// missingConfig says which ConfigMap, Secret or key that a container's environment needs is not there; empty if none.
func (v *view) missingConfig(c corev1.Container) string {
	for _, from := range c.EnvFrom {
		if r := from.ConfigMapRef; r != nil && !ptr.Deref(r.Optional, false) {
			if _, missing := v.keys("configmap", r.Name); missing != "" {
				return missing
			}
		}
		if r := from.SecretRef; r != nil && !ptr.Deref(r.Optional, false) {
			if _, missing := v.keys("secret", r.Name); missing != "" {
				return missing
			}
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		if r := env.ValueFrom.ConfigMapKeyRef; r != nil && !ptr.Deref(r.Optional, false) {
			keys, missing := v.keys("configmap", r.Name)
			if missing == "" && !keys[r.Key] {
				missing = fmt.Sprintf("couldn't find key %s in ConfigMap %s/%s", r.Key, v.pod.Namespace, r.Name)
			}
			if missing != "" {
				return missing
			}
		}
		if r := env.ValueFrom.SecretKeyRef; r != nil && !ptr.Deref(r.Optional, false) {
			keys, missing := v.keys("secret", r.Name)
			if missing == "" && !keys[r.Key] {
				missing = fmt.Sprintf("couldn't find key %s in Secret %s/%s", r.Key, v.pod.Namespace, r.Name)
			}
			if missing != "" {
				return missing
			}
		}
	}
	return ""
}

// missingVolume says which volume cannot be mounted, in the words of kubelet's FailedMount event; empty if none.
func (v *view) missingVolume() string {
	check := func(volume, kind, name string, optional *bool) string {
		// The cluster's root certificate is published a moment after the namespace; a test does not want to wait for it.
		if name == "kube-root-ca.crt" || ptr.Deref(optional, false) {
			return ""
		}
		if _, missing := v.keys(kind, name); missing != "" {
			return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", volume, missing)
		}
		return ""
	}
	for _, volume := range v.pod.Spec.Volumes {
		var missing string
		switch {
		case volume.PersistentVolumeClaim != nil:
			missing = v.unusableClaim(volume.Name, volume.PersistentVolumeClaim.ClaimName)
		case volume.ConfigMap != nil:
			missing = check(volume.Name, "configmap", volume.ConfigMap.Name, volume.ConfigMap.Optional)
		case volume.Secret != nil:
			missing = check(volume.Name, "secret", volume.Secret.SecretName, volume.Secret.Optional)
		case volume.Projected != nil:
			for _, source := range volume.Projected.Sources {
				if missing == "" && source.ConfigMap != nil {
					missing = check(volume.Name, "configmap", source.ConfigMap.Name, source.ConfigMap.Optional)
				}
				if missing == "" && source.Secret != nil {
					missing = check(volume.Name, "secret", source.Secret.Name, source.Secret.Optional)
				}
			}
		}
		if missing != "" {
			return missing
		}
	}
	return ""
}

// unusableClaim says why a PVC gives no volume, as getPVCExtractPV in
// pkg/kubelet/volumemanager/populator/desired_state_of_world_populator.go does; empty if it gives one. The scheduler waits for
// PVCs, so it matters for pods that got their nodes without it.
func (v *view) unusableClaim(volume, name string) string {
	claim, err := v.node.client.CoreV1().PersistentVolumeClaims(v.pod.Namespace).Get(v.ctx, name, metav1.GetOptions{})
	why := ""
	switch {
	case apierrors.IsNotFound(err):
		why = fmt.Sprintf("failed to fetch PVC from API server: %v", err)
	case err != nil: // as in keys
		return ""
	case claim.DeletionTimestamp != nil && !slices.Contains(claim.Finalizers, "kubernetes.io/pvc-protection"):
		why = "PVC is being deleted"
	case claim.Status.Phase != corev1.ClaimBound:
		why = "PVC is not bound"
	case claim.Spec.VolumeName == "":
		why = "PVC has empty pvc.Spec.VolumeName"
	default:
		return ""
	}
	return fmt.Sprintf("Unable to attach or mount volumes: unmounted volumes=[%[1]s], unattached volumes=[], failed to process "+
		"volumes=[%[1]s]: error processing PVC %[2]s/%[3]s: %[4]s", volume, v.pod.Namespace, name, why)
}
