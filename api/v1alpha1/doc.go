// Package v1alpha1 holds Pratique's policy objects as users write them: ImagePolicy, which a namespace
// owns, and ClusterImagePolicy, which the cluster's administrators own; TrustRoot, which says whose logs and certificate
// authorities count; and ImageException, by which a namespace excuses vulnerabilities for a time.
//
// The types are the schema and nothing else: what they mean is decided once, by internal/compile, which
// turns an object into a policy.Policy. Defaults are therefore applied there and not by the schema, so
// that an object says only what its author wrote.
//
// All of `spec` keeps fields that this version doesn't know (x-kubernetes-preserve-unknown-fields), because a dropped typo
// would loosen a policy in silence; internal/compile decodes it strictly and refuses.
//
// +kubebuilder:object:generate=true
// +groupName=pratique.dev
package v1alpha1
