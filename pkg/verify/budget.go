package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
)

// MaxChecks bounds the work that one question costs for one image, in checks of a signature: one takes 0.1 ms (P-256) to 3 ms (P-521), and
// whoever may push papers, or write a policy of many keys, decides how many there could be. What a paper costs:
//
//   - signed by a key: one check for each key that is tried, the one that it names first; where that fits and the terms have a trust
//     root, one for each way to meet them. A legacy signature names none, so that one of 64 keys may cost 64.
//     Behind others that name none either, one by its first MaxFirstChecks keys is always found, and one by a later key as far as the budget goes.
//   - keyless: one for each way to meet the terms, and two for people if none does. Where certificates came with it, as many as its chain.
//   - by a certificate of an own PKI: one, then one for its logs, one for its timestamps, and as many as its chain.
//   - each log entry after the first adds one, and each timestamp one for each authority of the trust root that it names, wherever they
//     are looked at.
//   - a chain costs as many checks as building it could take: one for each certificate, if no two have one name.
//
// So with an entry, a timestamp and two certificates above the signer's, a paper costs 3 to 8, and 1 if it has none of them. To read the entries is
// as much again, once for all questions: there are at most MaxEntries in each of MaxVerified papers, which is MaxChecks as well.
const MaxChecks = 512

// MaxFirstChecks is what each paper may cost before any is given more: its share, if there were as many as there may be. No paper can keep
// another from it, whatever it costs.
const MaxFirstChecks = MaxChecks / MaxVerified

// maxClimbs bounds the checks that one chain costs: crypto/x509 gives up after as many.
const maxClimbs = 100

// errTooManyChecks says that the bound was reached.
var errTooManyChecks = fmt.Errorf("more than %d signature checks", MaxChecks)

// budget is the work that is left for one question and image, or one paper of it. The zero budget has all.
type budget struct{ checks, most int }

// spend takes one check from the budget; an error says that there is none left, or no time.
func (b *budget) spend(ctx context.Context) error { return b.take(ctx, 1) }

// spendAll takes what it costs to look once at a signature, and at the log entries and timestamps that came with it; and at the chain of its
// certificate, if it is one by that.
func (b *budget) spendAll(ctx context.Context, o *opened, t Terms, certified bool) error {
	checks := max(1, o.entries) + o.stampChecks(t)
	if certified {
		checks += o.climbs
	}
	return b.take(ctx, checks)
}

// spendEntries takes what it costs to look at the log entries that came with a signature.
func (b *budget) spendEntries(ctx context.Context, o *opened) error {
	return b.take(ctx, max(1, o.entries))
}

// spendStamps takes what it costs to look at the timestamps that came with a signature.
func (b *budget) spendStamps(ctx context.Context, o *opened, t Terms) error {
	return b.take(ctx, max(1, o.stampChecks(t)))
}

// spendChain takes what it costs to build the chain of the certificate that came with a signature.
func (b *budget) spendChain(ctx context.Context, o *opened) error {
	return b.take(ctx, max(1, o.climbs))
}

func (b *budget) take(ctx context.Context, checks int) error {
	most := b.most
	if most == 0 {
		most = MaxChecks
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.checks+checks > most {
		return errTooManyChecks
	}
	b.checks += checks
	return nil
}

// climbsOf is how many signatures would be checked to build a certificate's chain of some others, if all were good and none led to a root: who
// sends many certificates of one name can make each be tried on each, in every order.
func climbsOf(leaf *x509.Certificate, above []*x509.Certificate) int {
	n, used := 0, make([]bool, len(above))
	var climb func(c *x509.Certificate)
	climb = func(c *x509.Certificate) {
		for i, a := range above {
			if n == maxClimbs {
				return
			}
			if used[i] || !bytes.Equal(c.RawIssuer, a.RawSubject) {
				continue
			}
			n++
			used[i] = true
			climb(a)
			used[i] = false
		}
	}
	climb(leaf)
	return n
}

// not keeps that a signature isn't by a key, whatever comes with it: the next who asks need not pay for that again.
func (o *opened) not(k Key, err error) error {
	if o.isntBy == nil {
		o.isntBy = map[Fingerprint]error{}
	}
	o.isntBy[k.fingerprint] = notSigned{errors.New(why(err))}
	return o.isntBy[k.fingerprint]
}
