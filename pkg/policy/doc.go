// Package policy decides: a Policy and what is known about an image give a Verdict.
//
// It is pure. It opens no connection, reads no file and asks no clock: what is known comes in as
// verify.Findings, and the same question has the same answer for the webhook, the CLI and a test.
//
//	Reference    what was written, as both of the field's parsers understand it
//	Pattern      which references a policy is about
//	Requirement  one thing that a policy wants; one file each (signature.go, ...)
//	Result       what came of one requirement: an Outcome, a Reason for machines, a Detail for people
//	Verdict      one image under one policy
//	Set          the policies of one namespace: which match, and what becomes of an image that none does
//
// Every zero value refuses: an Outcome that nobody set is Undetermined, a Policy without an Action is unusable, a
// Verdict without Results is Undetermined.
package policy
