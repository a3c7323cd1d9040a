package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/util/parsers"
)

// refused tells why a kubelet does not even try to get an image: the reason of the container, that of the event, and the
// words. It needs no words for an image that it may try to get.
func refused(c corev1.Container) (reason, event, words string) {
	if _, _, _, err := parsers.ParseImageName(c.Image); err != nil {
		return "InvalidImageName", "InspectFailed", fmt.Sprintf("Failed to apply default image tag %q: %v", c.Image, err)
	}
	if c.ImagePullPolicy == corev1.PullNever && !pullable(c.Image) {
		return "ErrImageNeverPull", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
	}
	return "", "", ""
}

// notPulled is a container whose image cannot be had: the error for a moment after each attempt, then the back-off until
// the next.
func (v *view) notPulled(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus, field string, wanted mode, held time.Duration) corev1.ContainerStatus {
	failure := v.behaviour.message
	if failure == "" {
		failure = fmt.Sprintf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", c.Image, c.Image, c.Image)
	}
	reason := ""
	if old.State.Waiting != nil {
		reason = old.State.Waiting.Reason
	}
	attempted, left := v.attempt(held)
	failed := wanted == modeErrImagePull || attempted
	if reason != "ErrImagePull" && (failed || reason != "ImagePullBackOff") {
		v.happened(field, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
		v.happened(field, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", c.Image, failure))
		v.happened(field, corev1.EventTypeWarning, "Failed", "Error: ErrImagePull")
		if wanted != modeErrImagePull { // a kubelet comes back at once, finds the back-off, and shows it at its next look
			v.backingOffPull(0, field, c)
		}
	}
	if wanted != modeErrImagePull {
		v.again(left)
	}
	if failed {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: failure}
		return s
	}
	v.backingOffPull(time.Minute, field, c)
	s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.Image, failure)}
	return s
}

// backingOffPull writes the events of a back-off, which a kubelet repeats at each look.
func (v *view) backingOffPull(interval time.Duration, field string, c corev1.Container) {
	v.every(interval, field, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
	v.every(interval, field, corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
}

// attempt tells whether an image was tried a moment ago, and how long until that changes. The attempts are those of a
// kubelet: after 10 s, then each time after twice as long, at most 5 minutes.
func (v *view) attempt(held time.Duration) (attempted bool, left time.Duration) {
	for attempts := int32(1); ; attempts++ {
		wait := v.pause(attempts)
		if attempts > 10 {
			held %= wait // all further ones are as long, and a test may have made the pod years old
		}
		switch {
		case held < v.behaviour.moment:
			return true, v.behaviour.moment - held
		case held < wait:
			return false, wait - held
		}
		held -= wait
	}
}

// alreadyPresent is what a kubelet says of an image that it does not need to pull.
func alreadyPresent(c corev1.Container) string {
	return fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image)
}

// pulled writes the events of an image that could be had.
func (v *view) pulled(c corev1.Container, old corev1.ContainerStatus, field string) {
	if isPresent(c.Image) || old.LastTerminationState.Terminated != nil || old.State.Terminated != nil {
		v.happened(field, corev1.EventTypeNormal, "Pulled", alreadyPresent(c))
		return
	}
	v.happened(field, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	v.happened(field, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in 10ms (10ms including waiting). Image size: 4096 bytes.", c.Image))
}

// started writes the events of a container that starts.
func (v *view) started(c corev1.Container, old corev1.ContainerStatus, field string) {
	v.created(c, old, field)
	v.happened(field, corev1.EventTypeNormal, "Started", "Container started")
}

// created writes the events of a container that was made, and may start.
func (v *view) created(c corev1.Container, old corev1.ContainerStatus, field string) {
	if old.State.Waiting == nil || old.State.Waiting.Reason != "CreateContainerConfigError" {
		v.pulled(c, old, field)
	}
	v.happened(field, corev1.EventTypeNormal, "Created", "Container created")
}
