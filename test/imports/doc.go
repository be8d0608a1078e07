// Package imports holds the source to its own rules: who may import what, and what no file may contain.
//
// The parts of Pratique are worth something only as long as they stay apart. A policy that can open a connection is no
// longer the same for the webhook, the CLI and a test; a second package that knows sigstore is a second place where a
// signature might be judged otherwise. Such rules are lost one import at a time and never by intent, so a test reads
// every file and names the promise that an import breaks.
//
//	rules_test.go    the rules, each a sentence with the place where it is promised and a sample that breaks it
//	finders_test.go  what the rules are made of: searches over the syntax of a package
//	source_test.go   reading the source, for every platform and build tag alike
//	closure_test.go  the packages that the webhook links, written down
//	modules_test.go  the modules in go.mod, each with its reason
//
// The reasons are in docs/design/0001-layout-and-imports.md and docs/design/dependencies.md.
package imports
