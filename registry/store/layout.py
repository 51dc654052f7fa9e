"""Every key of a store, built here and nowhere else; what a key says is parsed in `parsing.py`.

    docker/registry/v2/                                         CNCF Distribution's own layout
      blobs/<alg>/<hh>/<hex>/data                               bytes of a blob or manifest
      repositories/<name>/
        _layers/<alg>/<hex>/link                                this repository has the blob
        _layers/_placeholder                                    Distribution's collector wants the directory
        _manifests/revisions/<alg>/<hex>/link                   this repository has the manifest
        _manifests/tags/<tag>/current/link                      what the tag names
        _manifests/tags/<tag>/index/<alg>/<hex>/link            Distribution's: removed, never written
    _moorage/v1/                                                what Distribution has no place for
      format                                                    the oldest writer level allowed
      read-only                                                 present: nobody writes
      catalog-complete                                          present: every repository has a catalog entry
      catalog/<name, escaped>                                   one a repository; whether it is indexed
      manifests/<name>/_/<alg>/<hex>                            what Distribution would refuse, whole
      referrers/<name>/_/<alg>/<hex>/<alg>-<hex>                subject, referrer: its descriptor
      history/<name>/_/<tag>/<20-digit ns>-<uuid>               what a tag was set to
      uploads/<uuid>/{session,renewed,commit,data-<uuid>,chunk-<20-digit offset>}
      intents/<uuid>                                            what a writer is about to need
      leases/<name>/<20-digit epoch>                            who does the work that one process does
      reports/<kind>/<20-digit ns>-<uuid>                       what came of such work
      quotas/<prefix, escaped>/{counted,added}/…                what counts for a quota: see quotas.py
      trash/data/<alg>/<hex>/<run>, trash/links/<name>/_/<kind>/…/<run>, trash/{open,runs}/<run>
      quarantine/<alg>/<hex>/<uuid>                             damaged data, kept for a person to look at
      blocked/<alg>/<hex>                                       purged: neither stored nor served again
      pulls/days/<day>/…, pulls/{processes/<uuid>,uncovered/<day>}  what was pulled: see core/pull_records
      transfers/<namespace>/_/<alg>/<hex>/<segment>             a blob on its way here: see transfers
      mirrored/<namespace>/_/<alg>/<hex>                        a blob that came from elsewhere
      origins/<name>/_/{elsewhere,here}/<alg>/<hex>             a manifest that came from there, or was pushed
      pins/<name>/_/{repository,tags/<tag>,manifests/<alg>/<hex>}   what no eviction takes
      bundles/sent/<stream>/<20-digit number>/{head,written,acknowledged,forgotten}  a bundle that was written
      bundles/sent/<stream>/current/<20-digit number>-<uuid>, bundles/codes/<code>   what finds them
      bundles/given/<inventory>/{contents,forgotten}            an inventory that was given out
      bundles/received/<id>/{…}                                 a bundle that has come: see bundles/records
      bundles/open/<id>                                         what was decided of it may not be done yet
      bundles/staging/<id>                                      a part of it may wait, and not all
      bundles/contents/<id>                                     what a bundle states that was written
      audit/<20-digit ns>-<uuid>                                a delete or a change to access, by whom
      secret/<kind>/<name>[/<20-digit number>]                  keys, accounts and the like: see the vault

A repository name has no component that begins with `_`, so names and our own words cannot meet.
"""

from __future__ import annotations

import hashlib
import re

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag

DISTRIBUTION = "docker/registry/v2"
REPOSITORIES = f"{DISTRIBUTION}/repositories"
BLOBS = f"{DISTRIBUTION}/blobs"
OURS = "_moorage/v1"

FORMAT = f"{OURS}/format"
READ_ONLY = f"{OURS}/read-only"
CATALOG_COMPLETE = f"{OURS}/catalog-complete"
CATALOG = f"{OURS}/catalog"
WHOLE_MANIFESTS = f"{OURS}/manifests"
REFERRERS = f"{OURS}/referrers"
HISTORY = f"{OURS}/history"
# Where repositories lie that have manifests, and what each of those has then below it.
TREES = ((REPOSITORIES, "_manifests"), (WHOLE_MANIFESTS, "_"))
TRASH = f"{OURS}/trash"
TRASH_DATA = f"{TRASH}/data"
TRASH_LINKS = f"{TRASH}/links"
UPLOADS = f"{OURS}/uploads"
INTENTS = f"{OURS}/intents"
LEASES = f"{OURS}/leases"
REPORTS = f"{OURS}/reports"
QUOTAS = f"{OURS}/quotas"
# What the names in a session begin with; a directory more would cost each small push four calls.
CHUNK = "chunk-"
DATA = "data-"
TRASH_OPEN = f"{TRASH}/open"
TRASH_RUNS = f"{TRASH}/runs"
BLOCKED = f"{OURS}/blocked"
QUARANTINE = f"{OURS}/quarantine"
AUDIT = f"{OURS}/audit"
PULLS = f"{OURS}/pulls"
TRANSFERS = f"{OURS}/transfers"
MIRRORED = f"{OURS}/mirrored"
ORIGINS = f"{OURS}/origins"
PINS = f"{OURS}/pins"
SECRET = f"{OURS}/secret"
BUNDLES = f"{OURS}/bundles"
BUNDLES_SENT = f"{BUNDLES}/sent"
BUNDLES_GIVEN = f"{BUNDLES}/given"
BUNDLES_RECEIVED = f"{BUNDLES}/received"
BUNDLES_OPEN = f"{BUNDLES}/open"
BUNDLES_STAGING = f"{BUNDLES}/staging"

# The same order and length as the name itself, without `/`: `-` `.` `/` `0-9` `_` `a-z` in bytes.
_ESCAPE = str.maketrans("/0123456789", "0ABCDEFGHIJ")


def blob_data(digest: Digest) -> str:
    """Where the bytes of a blob or manifest lie."""
    return f"{BLOBS}/{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}/data"


def repository(name: RepositoryName) -> str:
    """The prefix of what Distribution's layout holds for a repository."""
    return f"{REPOSITORIES}/{name}"


def layer_link(name: str, digest: Digest) -> str:
    """The link that makes a blob one of the repository, which need not have a valid name."""
    return f"{REPOSITORIES}/{name}/_layers/{digest.algorithm}/{digest.encoded}/link"


def layers(name: RepositoryName) -> str:
    """The prefix of a repository's blob links."""
    return f"{REPOSITORIES}/{name}/_layers"


def layers_placeholder(name: RepositoryName) -> str:
    """Keeps `_layers` in being, without which Distribution's collector aborts."""
    return f"{REPOSITORIES}/{name}/_layers/_placeholder"


def below(prefix: str) -> tuple[str, ...]:
    """Where all lies that only concerns the repositories below a prefix of names, but for the catalog."""
    return tuple(f"{one}/{prefix.rstrip('/')}" for one in (REPOSITORIES, WHOLE_MANIFESTS, REFERRERS, HISTORY))


def manifests(name: RepositoryName) -> str:
    """The prefix of a repository's manifests in Distribution's layout."""
    return f"{REPOSITORIES}/{name}/_manifests"


def revisions(name: RepositoryName) -> str:
    """The prefix of a repository's manifest links."""
    return f"{REPOSITORIES}/{name}/_manifests/revisions"


def revision_link(name: str, digest: Digest) -> str:
    """The link that makes a manifest one of the repository, which need not have a valid name."""
    return f"{REPOSITORIES}/{name}/_manifests/revisions/{digest.algorithm}/{digest.encoded}/link"


def tags(name: RepositoryName) -> str:
    """The prefix whose children are the repository's tags."""
    return f"{REPOSITORIES}/{name}/_manifests/tags"


def tag_link(name: RepositoryName, tag: Tag) -> str:
    """What the tag names now."""
    return f"{REPOSITORIES}/{name}/_manifests/tags/{tag}/current/link"


def tag_index(name: RepositoryName, tag: Tag) -> str:
    """The prefix of Distribution's own record of what a tag has named."""
    return f"{REPOSITORIES}/{name}/_manifests/tags/{tag}/index"


def whole_manifests(name: RepositoryName) -> str:
    """The prefix of a repository's manifests that Distribution would refuse."""
    return f"{WHOLE_MANIFESTS}/{name}/_"


def whole_manifest(name: RepositoryName, digest: Digest) -> str:
    """A manifest that Distribution would refuse: type and bytes in one object."""
    return f"{WHOLE_MANIFESTS}/{name}/_/{digest.algorithm}/{digest.encoded}"


def catalog_entry(name: RepositoryName) -> str:
    """The repository's place in the catalog."""
    return f"{CATALOG}/{name.translate(_ESCAPE)}"


def catalog_after(last: str) -> str:
    """A catalog key behind which all names greater than `last` lie; `last` need not be a valid name."""
    prefix = re.match(r"[a-z0-9._/-]*", last, re.ASCII)
    return f"{CATALOG}/{(prefix[0] if prefix else '').translate(_ESCAPE)}"


def subject(name: RepositoryName, digest: Digest) -> str:
    """The prefix of the entries of what refers to `digest` in the repository."""
    if digest.supported:
        return f"{REFERRERS}/{name}/_/{digest.algorithm}/{digest.encoded}"
    # An algorithm that we cannot compute may still be named; its characters may not fit a key.
    return f"{REFERRERS}/{name}/_/other/{hashlib.sha256(str(digest).encode()).hexdigest()}"


def referrer(name: RepositoryName, subject_digest: Digest, digest: Digest) -> str:
    """One manifest that refers to `subject_digest`."""
    return f"{subject(name, subject_digest)}/{digest.algorithm}-{digest.encoded}"


def referrers(name: RepositoryName) -> str:
    """The prefix of all referrer entries of a repository."""
    return f"{REFERRERS}/{name}/_"


def histories(name: RepositoryName) -> str:
    """The prefix of the histories of a repository's tags."""
    return f"{HISTORY}/{name}/_"


def history(name: RepositoryName, tag: Tag) -> str:
    """The prefix of a tag's history."""
    return f"{histories(name)}/{tag}"


def upload(uuid: str) -> str:
    """The prefix of an upload session."""
    return f"{UPLOADS}/{uuid}"


def upload_chunk(uuid: str, offset: int) -> str:
    """The record that commits the chunk at `offset`."""
    return f"{UPLOADS}/{uuid}/{CHUNK}{offset:020d}"


def upload_data(uuid: str, random: str) -> str:
    """The bytes of one chunk."""
    return f"{UPLOADS}/{uuid}/{DATA}{random}"


def transfers(namespace: RepositoryName) -> str:
    """The prefix of what is on its way into a namespace."""
    return f"{TRANSFERS}/{namespace}/_"


def transfer(namespace: RepositoryName, digest: Digest) -> str:
    """The prefix of the segments of a blob on its way."""
    return f"{transfers(namespace)}/{digest.algorithm}/{digest.encoded}"


def mirrored(namespace: RepositoryName, digest: Digest) -> str:
    """The mark that a blob came from where the namespace's content comes from."""
    return f"{MIRRORED}/{namespace}/_/{digest.algorithm}/{digest.encoded}"


def origins(name: RepositoryName) -> str:
    """The prefix of what is known of where a repository's manifests came from."""
    return f"{ORIGINS}/{name}/_"


def origin(name: RepositoryName, place: str, digest: Digest) -> str:
    """The mark that a manifest came from a place: `elsewhere`, or `here`."""
    return f"{origins(name)}/{place}/{digest.algorithm}/{digest.encoded}"


def pins(name: RepositoryName) -> str:
    """The prefix of the pins of a repository."""
    return f"{PINS}/{name}/_"


def pinned_below(namespace: RepositoryName) -> str:
    """The prefix of the pins of all repositories below a namespace."""
    return f"{PINS}/{namespace}"


def pin(name: RepositoryName, reference: Tag | Digest | None) -> str:
    """What keeps a manifest, what a tag names, or (None) a whole repository from being evicted."""
    if isinstance(reference, Digest):
        return f"{pins(name)}/manifests/{reference.algorithm}/{reference.encoded}"
    return f"{pins(name)}/repository" if reference is None else f"{pins(name)}/tags/{reference}"


def intent(uuid: str) -> str:
    """What one writer is about to need."""
    return f"{INTENTS}/{uuid}"


def leases(name: str) -> str:
    """The prefix of the epochs of a lease."""
    return f"{LEASES}/{name}"


def reports(kind: str) -> str:
    """The prefix of the reports of one kind of work."""
    return f"{REPORTS}/{kind}"


def trash_open(run: str) -> str:
    """The record of a removal that is under way, or whose process died."""
    return f"{TRASH_OPEN}/{run}"


def trash_run(run: str) -> str:
    """The record of what one removal took."""
    return f"{TRASH_RUNS}/{run}"


def trash_data(digest: Digest) -> str:
    """The prefix of the trash copies of a blob's bytes."""
    return f"{TRASH_DATA}/{digest.algorithm}/{digest.encoded}"


def trash_of(name: RepositoryName) -> str:
    """The prefix of the trash copies of a repository's links; the last segment of each is its run."""
    return f"{TRASH_LINKS}/{name}/_"


def trash_layers(name: RepositoryName) -> str:
    """The prefix of the trash copies of a repository's blob links."""
    return f"{TRASH_LINKS}/{name}/_/layers"


def trash_manifests(name: RepositoryName) -> tuple[str, str]:
    """The prefixes of the trash copies of a repository's manifest links, and of manifests that lie whole."""
    return f"{TRASH_LINKS}/{name}/_/revisions", f"{TRASH_LINKS}/{name}/_/manifests"


def trash_layer(name: RepositoryName, digest: Digest) -> str:
    """The prefix of the trash copies of a blob link."""
    return f"{TRASH_LINKS}/{name}/_/layers/{digest.algorithm}/{digest.encoded}"


def trash_revision(name: RepositoryName, digest: Digest) -> str:
    """The prefix of the trash copies of a manifest link."""
    return f"{TRASH_LINKS}/{name}/_/revisions/{digest.algorithm}/{digest.encoded}"


def trash_whole_manifest(name: RepositoryName, digest: Digest) -> str:
    """The prefix of the trash copies of a manifest that Distribution would refuse."""
    return f"{TRASH_LINKS}/{name}/_/manifests/{digest.algorithm}/{digest.encoded}"


def trash_tag(name: RepositoryName, tag: Tag) -> str:
    """The prefix of the trash copies of a tag."""
    return f"{TRASH_LINKS}/{name}/_/tags/{tag}"


def secret(*segments: str) -> str:
    """What only the registry itself may read; sealed where the store is not its own disk."""
    return "/".join((SECRET, *segments))


def audit_entry(entry: str) -> str:
    """What one delete or change to access was."""
    return f"{AUDIT}/{entry}"


def quarantine(digest: Digest, uuid: str) -> str:
    """Where damaged data is kept for a person to look at."""
    return f"{quarantined(digest)}/{uuid}"


def quarantined(digest: Digest) -> str:
    """The prefix of what was set aside of a digest."""
    return f"{QUARANTINE}/{digest.algorithm}/{digest.encoded}"


def blocked(digest: Digest) -> str:
    """The mark that says that content may not be stored again."""
    return f"{BLOCKED}/{digest.algorithm}/{digest.encoded}"


def bundles_sent(stream: str) -> str:
    """The prefix of the bundles of a stream that were written here."""
    return f"{BUNDLES_SENT}/{stream}"


def bundle_sent(stream: str, number: int, *parts: str) -> str:
    """What is known of a bundle that was written here."""
    return "/".join((BUNDLES_SENT, stream, f"{number:020d}", *parts))


def bundles_current(stream: str) -> str:
    """The prefix of what says which bundles of a stream may still be needed."""
    return f"{BUNDLES_SENT}/{stream}/current"


def bundle_code(code: str) -> str:
    """Which bundle has arrived when a receipt has come with a code."""
    return f"{BUNDLES}/codes/{code}"


def bundle_given(inventory: str, part: str) -> str:
    """What is known of an inventory that was given out."""
    return f"{BUNDLES_GIVEN}/{inventory}/{part}"


def bundle_received(bundle: str, *parts: str) -> str:
    """What is known of a bundle that has come."""
    return "/".join((BUNDLES_RECEIVED, bundle, *parts))


def bundle_open(bundle: str) -> str:
    """The mark that what was decided about a bundle may not be done yet."""
    return f"{BUNDLES_OPEN}/{bundle}"


def bundle_staging(bundle: str) -> str:
    """The mark that a part of a bundle may wait, and not all of it."""
    return f"{BUNDLES_STAGING}/{bundle}"


def bundle_contents(bundle: str) -> str:
    """What a bundle states that was written here."""
    return f"{BUNDLES}/contents/{bundle}"
