package policy

// Outcome is what came of a requirement, or of an image under a policy.
type Outcome uint8

// The outcomes. Only the last two let an image pass.
const (
	// Undetermined: it could not be found out. It is the zero value, and it refuses. An outage is Undetermined.
	Undetermined Outcome = iota
	// Violated: what is needed is missing, malformed, empty, stale, wrongly signed or of another type.
	Violated
	// Satisfied: what is needed was found and verified.
	Satisfied
	// Exempt: the policy asks for nothing here, and says so.
	Exempt
)

// Passes tells whether the outcome lets an image pass.
func (o Outcome) Passes() bool { return o == Satisfied || o == Exempt }

// String returns the outcome in one lower-case word.
func (o Outcome) String() string {
	switch o {
	case Violated:
		return "violated"
	case Satisfied:
		return "satisfied"
	case Exempt:
		return "exempt"
	}
	return "undetermined"
}

// worse returns the outcome that decides where both apply: Violated before Undetermined before Exempt before Satisfied.
func worse(a, b Outcome) Outcome {
	rank := func(o Outcome) int {
		switch o {
		case Violated:
			return 0
		case Satisfied:
			return 3
		case Exempt:
			return 2
		}
		return 1
	}
	if rank(b) < rank(a) {
		return b
	}
	return a
}
