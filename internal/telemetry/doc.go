// Package telemetry keeps what the webhook did: metrics for those who run it and the decision log for those who audit it.
//
// The packages that decide don't know it. They declare what they want to tell (admission.Recorder, verify.Options.Observe,
// registry's hook), and cmd/webhook hands them a Telemetry.
//
// The decision log is written behind the decisions: whoever is slow to read stdout must not be able to hold up a cluster's
// Pods. What waits is bounded; a line for which there is no room is dropped after a tenth of a second, and counted. So a
// process that ends calls Flush after everything that records has ended.
//
// Labels are bounded: webhook, decision, requirement, outcome, reason, kind, result. No metric has an image, a namespace or a
// registry as a label, for whoever may create Pods could make as many of those as they like.
package telemetry
