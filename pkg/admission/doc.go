// Package admission answers AdmissionReviews: AdmissionReview -> images -> Verdicts -> Decision -> response.
//
//	Images      every image that a Pod names, wherever it does          (images.go)
//	Evaluator   images of a namespace -> Decision                       (evaluator.go)
//	Decision    allowed only if everything that had to be judged passed (decision.go)
//	Pods        the handler of /validate                                (pods.go)
//	Pins        the handler of /pin, on which nothing rests             (pin.go)
//	Templates   the handler of /workloads, on which nothing rests       (templates.go)
//	Policies    the handler of /validate-policy                         (policies.go)
//
// A Decision that nobody filled in refuses. There is one way to be allowed: each image has as many verdicts as there are
// policies for it, and each of those that is enforced passes. What the answer says is worded here, once, in message.go.
package admission
