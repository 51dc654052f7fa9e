#!/bin/sh
# serve.sh [FLAGS]: serves ./data with the checkout's own environment ($PYTHON), for trying the registry out.
set -eu
root=data
mkdir -p "$root"

# Names that differ only in case are different names to a registry. A file system that cannot tell them apart
# (macOS as it is delivered) is refused unless that is allowed in so many words, which is done here, out loud.
probe=$root/.tmp-case-probe-$$
: >"$probe-a"
if [ -e "$probe-A" ]; then
    echo "The file system of ./$root folds case: tags or repositories that differ only in case would be one." >&2
    echo "Serving all the same, since this is for trying out (storage.allow_case_folding)." >&2
    MOORAGE_STORAGE_ALLOW_CASE_FOLDING=true
    export MOORAGE_STORAGE_ALLOW_CASE_FOLDING
fi
rm -f "$probe-a"

exec "$PYTHON" -m registry.cli serve --root "$root" "$@"
