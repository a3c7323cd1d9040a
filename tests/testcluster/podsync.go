package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/reference"
	"k8s.io/utils/ptr"
)

// sync looks at one pod, brings its stored status up to date and tells when to look again (0: at its next change).
func (n *fakeNode) sync(ctx context.Context, key string) (time.Duration, error) {
	if n.lost.Load() {
		return 0, nil
	}
	object, exists, err := n.pods.GetByKey(key)
	if err != nil {
		return 0, err
	}
	if !exists {
		return 0, os.RemoveAll(n.podRoot(key))
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return 0, fmt.Errorf("%T in the store of pods", object)
	}
	v := n.view(ctx, pod)
	if pod.DeletionTimestamp != nil {
		return n.terminate(ctx, v)
	}
	if isOver(pod.Status.Phase) {
		return 0, nil // as a kubelet: nothing brings a pod back from there
	}
	if err := n.write(ctx, v, v.status()); err != nil {
		return 0, err
	}
	return v.next, nil
}

// view collects what one look at a pod needs.
func (n *fakeNode) view(ctx context.Context, pod *corev1.Pod) *view {
	now := time.Now()
	v := &view{node: n, ctx: ctx, pod: pod, behaviour: behaviourOf(pod), now: now, stamp: metav1.NewTime(now.Truncate(time.Second))}
	n.mutex.Lock()
	if n.memory[pod.UID] == nil {
		n.memory[pod.UID] = &memory{seen: now, repeated: map[string]time.Time{}, failures: map[string]int{}}
	}
	v.memory = n.memory[pod.UID]
	n.mutex.Unlock()
	began := v.memory.seen
	if stored := pod.Status.StartTime; stored != nil && !stored.Time.Equal(began.Truncate(time.Second)) {
		began = stored.Time // a test moved it, or this process is younger than the pod
	}
	v.since = now.Sub(began) - v.behaviour.delay
	return v
}

// write patches the stored status if it differs, and then writes the events of the look. The patch holds the version
// that was looked at: an informer lags behind its own writes, and a crash must not be counted twice.
func (n *fakeNode) write(ctx context.Context, v *view, status *corev1.PodStatus) error {
	if !equality.Semantic.DeepEqual(&v.pod.Status, status) {
		patch := map[string]any{
			"metadata": map[string]any{"uid": v.pod.UID, "resourceVersion": v.pod.ResourceVersion},
			"status":   status,
		}
		body, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		if body, err = withExplicitNulls(body, &v.pod.Status); err != nil {
			return err
		}
		_, err = n.client.CoreV1().Pods(v.pod.Namespace).Patch(ctx, v.pod.Name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
		if err != nil {
			return err
		}
	}
	for _, e := range v.events {
		n.mutex.Lock()
		if e.repeats {
			v.memory.repeated[e.key()] = v.now
		}
		n.mutex.Unlock()
		object, err := reference.GetReference(scheme.Scheme, v.pod)
		if err != nil {
			return err
		}
		object.FieldPath = e.field
		n.recorder(ctx, v.pod, v.behaviour.eventBurst).Event(object, e.kind, e.reason, e.message)
	}
	return nil
}

// withExplicitNulls makes a merge patch remove the status fields that are stored but not wanted any more: a field that
// is merely absent would stay.
func withExplicitNulls(patch []byte, stored *corev1.PodStatus) ([]byte, error) {
	var wanted map[string]map[string]any
	if err := json.Unmarshal(patch, &wanted); err != nil {
		return nil, err
	}
	body, err := json.Marshal(stored)
	if err != nil {
		return nil, err
	}
	var old map[string]any
	if err := json.Unmarshal(body, &old); err != nil {
		return nil, err
	}
	for field := range old {
		if _, stays := wanted["status"][field]; !stays {
			wanted["status"][field] = nil
		}
	}
	return json.Marshal(wanted)
}

// terminate plays the end of a pod: as it was while it lingers, then its containers end, then the object goes. A
// finalizer keeps the object, not the containers.
func (n *fakeNode) terminate(ctx context.Context, v *view) (time.Duration, error) {
	grace := time.Duration(ptr.Deref(v.pod.DeletionGracePeriodSeconds, 0)) * time.Second
	lingered := v.now.Sub(v.pod.DeletionTimestamp.Time.Add(-grace))
	if grace > 0 && lingered < v.behaviour.linger {
		if err := n.write(ctx, v, v.terminating()); err != nil {
			return 0, err
		}
		return v.behaviour.linger - lingered, nil
	}
	if err := n.write(ctx, v, v.terminated()); err != nil {
		return 0, err
	}
	if grace == 0 && len(v.pod.Finalizers) > 0 {
		return 0, nil // already asked for; whoever set the finalizer is next
	}
	n.mutex.Lock()
	delete(n.memory, v.pod.UID)
	n.mutex.Unlock()
	return 0, n.client.CoreV1().Pods(v.pod.Namespace).Delete(ctx, v.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &v.pod.UID},
	})
}

// podRoot is the folder of a pod's containers.
func (n *fakeNode) podRoot(key string) string {
	return filepath.Join(n.root, strings.ReplaceAll(key, "/", "_"))
}

func isOver(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}
