package policy

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/google/cel-go/common/operators"
)

// How values compare and what is reckoned with them, as CEL has it: numbers of different kinds compare by what they are worth but don't mix in sums,
// values of other kinds are different, and what doesn't fit is an error.

// equal tells whether two values are the same. What it goes through is charged before it is.
func (v *variables) equal(a, b any) (bool, error) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		if err := v.spend(uint64(len(a)) / bytesAUnit); err != nil {
			return false, err
		}
		return a == b, nil
	case int64, float64:
		n, ok := numeric(a, b)
		return ok && n == 0, nil
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b), nil
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for i := range a {
			if err := v.spend(1); err != nil {
				return false, err
			}
			if same, err := v.equal(a[i], b[i]); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	case map[string]any:
		b, ok := b.(map[string]any)
		return v.equalMaps(a, b, ok)
	case nil, bool, time.Duration:
		return b == a, nil
	}
	return false, errKind
}

func (v *variables) equalMaps(a, b map[string]any, ok bool) (bool, error) {
	if !ok || len(a) != len(b) {
		return false, nil
	}
	for name, value := range a {
		if err := v.spend(2 + uint64(len(name))/bytesAUnit); err != nil {
			return false, err
		}
		other, has := b[name]
		if !has {
			return false, nil
		}
		if same, err := v.equal(value, other); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// numeric puts two numbers in order; what is no number has none.
func numeric(a, b any) (int, bool) {
	switch a := a.(type) {
	case int64:
		switch b := b.(type) {
		case int64:
			return cmp.Compare(a, b), true
		case float64:
			return -compareMixed(b, a), !math.IsNaN(b)
		}
	case float64:
		switch b := b.(type) {
		case int64:
			return compareMixed(a, b), !math.IsNaN(a)
		case float64:
			return cmp.Compare(a, b), !math.IsNaN(a) && !math.IsNaN(b)
		}
	}
	return 0, false
}

func compareMixed(d float64, n int64) int {
	switch {
	case d < math.MinInt64:
		return -1
	case d > math.MaxInt64:
		return 1
	}
	return cmp.Compare(d, float64(n))
}

// order puts two values in order.
func (v *variables) order(a, b any) (int, error) {
	switch a := a.(type) {
	case int64, float64:
		switch b.(type) {
		case int64, float64:
			n, ok := numeric(a, b)
			if !ok {
				return 0, errUnordered
			}
			return n, nil
		}
	case string:
		if b, ok := b.(string); ok {
			if err := v.spend(uint64(min(len(a), len(b))) / bytesAUnit); err != nil {
				return 0, err
			}
			return strings.Compare(a, b), nil
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(number(a), number(b)), nil
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b), nil
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok {
			return cmp.Compare(a, b), nil
		}
	}
	return 0, errKind
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

func negate(_ *variables, a any) (any, error) {
	switch a := a.(type) {
	case int64:
		if a == math.MinInt64 {
			return nil, errRange
		}
		return -a, nil
	case float64:
		return -a, nil
	case time.Duration:
		if a == math.MinInt64 {
			return nil, errRange
		}
		return -a, nil
	}
	return nil, errKind
}

func add(v *variables, a, b any) (any, error) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		if !ok {
			return nil, errKind
		}
		if err := v.spend(1 + uint64(len(a)+len(b))/bytesAUnit); err != nil {
			return nil, err
		}
		return a + b, nil
	case time.Time:
		if b, ok := b.(time.Duration); ok {
			return timely(a.Add(b))
		}
	case time.Duration:
		if b, ok := b.(time.Time); ok {
			return timely(b.Add(a))
		}
		if b, ok := b.(time.Duration); ok {
			n, err := ofInts(operators.Add, int64(a), int64(b))
			return time.Duration(n), err
		}
	case []any:
		return nil, errKind // lists grow
	}
	return reckon(operators.Add, a, b)
}

// reckon is arithmetic of numbers of one kind, and what is between times.
func reckon(operator string, a, b any) (any, error) {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return ofInts(operator, a, b)
		}
	case float64:
		if b, ok := b.(float64); ok {
			return ofDoubles(operator, a, b)
		}
	case time.Time:
		switch b := b.(type) {
		case time.Duration:
			if operator == operators.Subtract && b != math.MinInt64 {
				return timely(a.Add(-b))
			}
		case time.Time:
			if d := a.Sub(b); operator == operators.Subtract && b.Add(d).Equal(a) {
				return d, nil
			} else if operator == operators.Subtract {
				return nil, errRange
			}
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok && operator == operators.Subtract {
			n, err := ofInts(operator, int64(a), int64(b))
			return time.Duration(n), err
		}
	}
	return nil, errKind
}

func ofInts(operator string, a, b int64) (int64, error) {
	switch operator {
	case operators.Add:
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
	case operators.Subtract:
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
	case operators.Multiply:
		if a == 0 || b == 0 {
			return 0, nil
		}
		if c := a * b; c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return c, nil
		}
	case operators.Divide, operators.Modulo:
		switch {
		case b == 0:
			return 0, errZero
		case a == math.MinInt64 && b == -1:
		case operator == operators.Divide:
			return a / b, nil
		default:
			return a % b, nil
		}
	}
	return 0, errRange
}

func ofDoubles(operator string, a, b float64) (any, error) {
	switch operator {
	case operators.Add:
		return a + b, nil
	case operators.Subtract:
		return a - b, nil
	case operators.Multiply:
		return a * b, nil
	case operators.Divide:
		return a / b, nil
	}
	return nil, errKind
}
