#!/bin/sh
# environment.sh FOLDER LOCK: makes a Python environment in FOLDER with exactly what the hash-locked file LOCK names.
#
# Takes any Python 3.11 to 3.14 ($PYTHON, if set, is tried first) and whichever of uv, venv and virtualenv
# is there, since many systems ship a Python without ensurepip.
set -eu
folder=$1
lock=$2

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}
has() {
    "$python" -c "import $1" >/dev/null 2>&1
}

uv=
if command -v uv >/dev/null 2>&1; then
    uv=uv
fi

# The first Python that fits and can make an environment; failing that, the first that fits.
python=
first=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    fits "$candidate" || continue
    python=$candidate
    first=${first:-$candidate}
    if [ -n "$uv" ] || has ensurepip || has virtualenv || has uv; then
        break
    fi
    python=$first
done
if [ -z "$uv" ] && [ -n "$python" ] && has uv; then
    uv="$python -m uv"
fi

if [ -z "$python" ]; then
    echo "No Python 3.11 to 3.14 was found. Install one, or say where it is: make PYTHON=/path/to/python3 ..." >&2
    exit 1
fi

if ! fits "$folder/bin/python"; then
    if [ -n "$uv" ]; then
        $uv venv --quiet --clear --python "$("$python" -c 'import sys; print(sys.executable)')" "$folder"
    elif has ensurepip; then
        "$python" -m venv --clear "$folder"
    elif has virtualenv; then
        "$python" -m virtualenv --quiet --clear "$folder"
    elif command -v virtualenv >/dev/null 2>&1; then
        virtualenv --quiet --clear --python "$python" "$folder"
    else
        echo "$python has neither ensurepip nor virtualenv, and there is no uv." >&2
        echo "Install one of them, e.g. (Debian, Ubuntu): apt-get install python3-venv" >&2
        exit 1
    fi
fi

if "$folder/bin/python" -c 'import pip' >/dev/null 2>&1; then
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps -r "$lock"
elif [ -n "$uv" ]; then
    $uv pip install --quiet --python "$folder/bin/python" --require-hashes --no-deps -r "$lock"
else
    echo "$folder has no pip, and there is no uv: remove the folder and try again" >&2
    exit 1
fi
