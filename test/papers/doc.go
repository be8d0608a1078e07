// Package papers judges every kind of paper in every state that it may be in: signed for real, listed by a registry, verified, and judged by a
// policy that was written in YAML.
//
//	row       a requirement, the policy that asks for it, and the paper that satisfies it   (rows_test.go, documents_test.go)
//	column    what a registry has instead of that paper                                     (columns_test.go)
//	cell      one of each: what the webhook would say                                       (cell_test.go)
//	shelf     where the papers are: in memory, or in a registry on loopback                 (shelf_test.go)
//
// testdata/TABLE.md is what came of each cell, for people to read; UPDATE_GOLDEN=1 writes it anew. Which cells may pass is not read from there, but
// listed in the test: a cell that begins to pass fails whatever the file says.
//
// Beside the table: time that moves while everything is held (clock_test.go), and several platforms as tools lay them out (platforms_test.go).
package papers
