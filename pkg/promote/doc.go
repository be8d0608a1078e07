// Package promote makes papers: it signs what somebody says about an image and keeps it beside the image, where policies look for it.
//
// A paper is an in-toto Statement, which names images by digest and says one thing of them; it is signed as a DSSE envelope and packed as a
// Sigstore bundle, as cosign 3 writes and cosign 2.6 reads it. [Statement] is what is to be said, [SigningKey] who says it, [Bundle] the result and [Store]
// where it is kept; an [Attestor] does all of it. What a webhook could not read is refused before it is signed (see [Check]): a paper that counts for
// nothing is found out at the desk, and not at the cluster's door.
//
// Keys are cosign's. They are printed by nothing: a SigningKey shows the fingerprint of its public half, however it is formatted.
package promote
