package crash

import "slices"

// A create. The asked node is the one that the client spoke to, the holder the one that
// is to have the container.
const (
	CreateAsked      Step = "create.asked"      // asked node: the wish is understood, nothing is reserved
	CreateReserved   Step = "create.reserved"   // asked node: a place is reserved, of which its holder does not know
	CreateBegun      Step = "create.begun"      // holder: it was told, and has done nothing
	CreateMaking     Step = "create.making"     // holder: all that the container needs is there
	CreateMade       Step = "create.made"       // holder: the engine has the container, the ledger does not know
	CreateConfirmed  Step = "create.confirmed"  // holder: the ledger knows, the asked node does not
	CreateTold       Step = "create.told"       // asked node: it knows, the client does not
	CreateRefused    Step = "create.refused"    // holder: the engine refused, the place is still reserved
	CreateReleased   Step = "create.released"   // holder: the place is given up, nobody was told why
	CreateSpoiled    Step = "create.spoiled"    // holder: the engine failed and made the container all the same
	CreateWithdrawn  Step = "create.withdrawn"  // holder: that is removed, the place is still reserved
	CreateUnreached  Step = "create.unreached"  // asked node: the holder is not there, the place is still reserved
	CreateUnreserved Step = "create.unreserved" // asked node: that is given up, no other is looked for yet
)

// A removal of a container.
const (
	RemoveAsked    Step = "rm.asked"    // asked node: the container is found, its holder was told nothing
	RemoveBegun    Step = "rm.begun"    // holder: it was told, its engine was not
	RemoveDone     Step = "rm.done"     // holder: the container is gone, the ledger does not know
	RemoveReleased Step = "rm.released" // holder: the ledger knows, the asked node does not
	RemoveTold     Step = "rm.told"     // asked node: it knows, the client does not
)

// A commit of a container to an image.
const (
	CommitAsked     Step = "commit.asked"     // asked node: the wish is understood, no name is claimed
	CommitClaimed   Step = "commit.claimed"   // asked node: the name is claimed, the holder does not know
	CommitBegun     Step = "commit.begun"     // holder: it knows, its engine does not
	CommitMade      Step = "commit.made"      // holder: the engine has the image, the ledger does not know
	CommitNamed     Step = "commit.named"     // holder: the ledger knows, the asked node does not
	CommitTold      Step = "commit.told"      // asked node: it knows, the client does not
	CommitRefused   Step = "commit.refused"   // holder: the engine refused, the name is still claimed
	CommitUnclaimed Step = "commit.unclaimed" // holder: the claim is given up, nobody was told why
)

// An image on its way from one engine to another.
const (
	ImageWanted     Step = "image.wanted"     // receiver: it is missing, nobody was asked
	ImageDescribing Step = "image.describing" // sender: it is asked what the image is made of
	ImageNoting     Step = "image.noting"     // receiver: the note of the load is written beside its place
	ImageNoted      Step = "image.noted"      // receiver: it is in its place, nothing is loaded
	ImageSending    Step = "image.sending"    // sender: some bytes of a layer are under way
	ImageComing     Step = "image.coming"     // receiver: some bytes of a layer went to the engine
	ImageLoaded     Step = "image.loaded"     // receiver: the engine has the image, nameless
	ImagePublished  Step = "image.published"  // receiver: the ledger knows that it is here
	ImageNamed      Step = "image.named"      // receiver: it has its name here, the note says that it is loaded
	ImageKept       Step = "image.kept"       // receiver: the note says that it is here, nobody was told
	ImageFailed     Step = "image.failed"     // receiver: it is not wanted any more, or came wrong
	ImageScrapped   Step = "image.scrapped"   // receiver: it is gone again, the note says that it is loaded
)

// A machine that joins.
const (
	JoinAsking    Step = "join.asking"    // joiner: it has a key, nobody was asked
	JoinSigned    Step = "join.signed"    // voter: a certificate is signed, the token is not used
	JoinAdmitted  Step = "join.admitted"  // voter: the token is used, the joiner has no answer
	JoinAnswered  Step = "join.answered"  // joiner: the answer is there, nothing of it is written
	JoinKeyed     Step = "join.keyed"     // joiner: the cluster's secrets are written, the certificate is not
	JoinCertified Step = "join.certified" // joiner: it is a node on disk, of which the ledger knows nothing
	JoinKnown     Step = "join.known"     // joiner: it is about to register
	JoinDone      Step = "join.done"      // joiner: the ledger has it
)

// A machine that leaves.
const (
	LeaveAsked    Step = "leave.asked"    // leaver: it may leave, nothing is changed
	LeaveDrained  Step = "leave.drained"  // leaver: it takes nothing new
	LeaveWished   Step = "leave.wished"   // leaver: it is to vote no more
	LeaveVoteless Step = "leave.voteless" // leaver: it does not vote
	LeaveKeyKept  Step = "leave.keykept"  // voter: it has the CA's key for it
	LeaveKeyless  Step = "leave.keyless"  // leaver: somebody has the key, it is still a node
	LeaveRemoved  Step = "leave.removed"  // leaver: it is none any more, the client has no answer
	LeaveParted   Step = "leave.parted"   // leaver: the data directory says so, and is still a node's
	LeaveWiping   Step = "leave.wiping"   // leaver: the certificates are gone, the log is there
	LeaveWiped    Step = "leave.wiped"    // leaver: all is gone
)

// A change of raft's servers, by the leader.
const (
	VoteAdding    Step = "vote.adding"    // a node is to follow the log
	VoteAdded     Step = "vote.added"     // it does
	VotePromoting Step = "vote.promoting" // a follower is to vote
	VotePromoted  Step = "vote.promoted"  // it does
	VoteDemoting  Step = "vote.demoting"  // a voter is to lose its vote
	VoteDemoted   Step = "vote.demoted"   // it has none
	VoteRemoving  Step = "vote.removing"  // a follower is to be fed
	VoteRemoved   Step = "vote.removed"   // it is no server any more
	VoteYielding  Step = "vote.yielding"  // the leader is to hand over
	VoteYielded   Step = "vote.yielded"   // another leads
	VoteLearnt    Step = "vote.learnt"    // any server: the change is in its own log
)

// A command, whatever it is about.
const (
	LogAsked     Step = "log.asked"     // leader: it has come, and is in no log
	LogCommitted Step = "log.committed" // leader: it is decided, and whoever proposed it does not know
	LogApplied   Step = "log.applied"   // any replica: it is in the ledger here
)

// Steps returns all steps, way by way, in the order in which each is gone.
func Steps() []Step {
	return slices.Concat(
		[]Step{CreateAsked, CreateReserved, CreateBegun, CreateMaking, CreateMade, CreateConfirmed, CreateTold,
			CreateRefused, CreateReleased, CreateSpoiled, CreateWithdrawn, CreateUnreached, CreateUnreserved},
		[]Step{RemoveAsked, RemoveBegun, RemoveDone, RemoveReleased, RemoveTold},
		[]Step{CommitAsked, CommitClaimed, CommitBegun, CommitMade, CommitNamed, CommitTold, CommitRefused, CommitUnclaimed},
		[]Step{ImageWanted, ImageDescribing, ImageNoting, ImageNoted, ImageSending, ImageComing, ImageLoaded,
			ImagePublished, ImageNamed, ImageKept, ImageFailed, ImageScrapped},
		[]Step{JoinAsking, JoinSigned, JoinAdmitted, JoinAnswered, JoinKeyed, JoinCertified, JoinKnown, JoinDone},
		[]Step{LeaveAsked, LeaveDrained, LeaveWished, LeaveVoteless, LeaveKeyKept, LeaveKeyless, LeaveRemoved,
			LeaveParted, LeaveWiping, LeaveWiped},
		[]Step{VoteAdding, VoteAdded, VotePromoting, VotePromoted, VoteDemoting, VoteDemoted, VoteRemoving, VoteRemoved,
			VoteYielding, VoteYielded, VoteLearnt},
		[]Step{LogAsked, LogCommitted, LogApplied},
	)
}
