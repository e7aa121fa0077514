package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.universe.tf/metallb/api/v1beta1"
	"go.universe.tf/metallb/api/v1beta2"
	"go.universe.tf/metallb/internal/config"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sorts the objects by kind. An error is one that an API server would have raised: the object has not the shape of its kind.
func read(objects []json.RawMessage) (config.ClusterResources, []corev1.Service, error) {
	var services []corev1.Service
	all := config.ClusterResources{PasswordSecrets: map[string]corev1.Secret{}}
	for _, object := range objects {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(object, &kind); err != nil {
			return all, nil, err
		}
		var err error
		switch kind.Kind {
		case "IPAddressPool":
			err = add(object, &all.Pools)
		case "L2Advertisement":
			err = add(object, &all.L2Advs)
		case "BGPAdvertisement":
			err = add(object, &all.BGPAdvs)
		case "BFDProfile":
			err = add(object, &all.BFDProfiles)
		case "Community":
			err = add(object, &all.Communities)
		case "Service":
			err = add(object, &services)
		case "Node":
			err = add(object, &all.Nodes)
		case "Namespace":
			err = add(object, &all.Namespaces)
		case "BGPPeer":
			if kind.APIVersion == v1beta2.GroupVersion.String() {
				err = add(object, &all.Peers)
			} else {
				err = addConverted(object, &all.Peers)
			}
		case "Secret":
			var secrets []corev1.Secret
			err = add(object, &secrets)
			for _, secret := range secrets {
				all.PasswordSecrets[secret.Name] = secret
			}
		default:
			fail(fmt.Errorf("nothing reads a %s", kind.Kind))
		}
		if err != nil {
			return all, nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
	}
	return all, services, nil
}

func add[T any](object []byte, list *[]T) error {
	var value T
	if err := json.Unmarshal(object, &value); err != nil {
		return err
	}
	*list = append(*list, value)
	return nil
}

// A peer of v1beta1, by way of MetalLB's own conversion.
func addConverted(object []byte, list *[]v1beta2.BGPPeer) error {
	var old v1beta1.BGPPeer
	if err := json.Unmarshal(object, &old); err != nil {
		return err
	}
	var peer v1beta2.BGPPeer
	if err := old.ConvertTo(&peer); err != nil {
		return err
	}
	*list = append(*list, peer)
	return nil
}

// The objects, and all that they name and that is not there: profiles, Secrets, names of communities.
func complete(all config.ClusterResources) config.ClusterResources {
	profiles := map[string]bool{}
	for _, profile := range all.BFDProfiles {
		profiles[profile.Name] = true
	}
	secrets := map[string]corev1.Secret{}
	for name, secret := range all.PasswordSecrets {
		secrets[name] = secret
	}
	all.PasswordSecrets = secrets
	for _, peer := range all.Peers {
		if name := peer.Spec.BFDProfile; name != "" && !profiles[name] {
			profiles[name] = true
			profile := v1beta1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: name}}
			all.BFDProfiles = append(all.BFDProfiles, profile)
		}
		if name := peer.Spec.PasswordSecret.Name; name != "" {
			if _, known := secrets[name]; !known {
				secrets[name] = corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Name: name},
					Type:       corev1.SecretTypeBasicAuth,
					Data:       map[string][]byte{"password": []byte("secret")},
				}
			}
		}
	}
	aliases := map[string]bool{}
	for _, object := range all.Communities {
		for _, alias := range object.Spec.Communities {
			aliases[alias.Name] = true
		}
	}
	added := v1beta1.Community{ObjectMeta: metav1.ObjectMeta{Name: "missing"}}
	for _, advertisement := range all.BGPAdvs {
		for _, name := range advertisement.Spec.Communities {
			parts := strings.Count(name, ":") + 1
			if parts == 2 || parts == 4 || aliases[name] {
				continue // a community, or known
			}
			aliases[name] = true
			alias := v1beta1.CommunityAlias{Name: name, Value: "1:1"}
			added.Spec.Communities = append(added.Spec.Communities, alias)
		}
	}
	all.Communities = append(all.Communities, added)
	return all
}
