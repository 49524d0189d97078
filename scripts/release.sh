#!/usr/bin/env bash
# Build the source distribution and the wheel, install the wheel outside the checkout, and test it on every Python.
#
#   scripts/release.sh                    test on Python 3.11, 3.12 and 3.13, and write to dist/
#   PYTHONS=3.12 scripts/release.sh       test only on this Python
#   scripts/release.sh --rehearse         test an unreleased version, and write nothing to dist/
#
# The wheel is built from the source distribution. A release must be tested on all Pythons, so it is an error if one is
# neither on PATH nor among pyenv's versions. CONTRIBUTING.md lists what to do before and after.

. "$(dirname "$0")/lib.sh"
cd "$root"
rehearse=
case ${1:-} in
    '') ;;
    --rehearse) rehearse=1 ;;
    *) die "unknown option $1 (see --help)" ;;
esac

read -ra pythons <<<"${PYTHONS:-3.11 3.12 3.13}"
missing=
for version in "${pythons[@]}"; do
    [ "$(find_python "$version")" ] || missing+=" $version"
done
[ -z "$missing" ] || die "Python$missing not found on PATH or among pyenv's versions; install it, or name others in PYTHONS"

scripts/setup.sh
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH
version=$(python -c 'import fairseq_lskd; print(fairseq_lskd.__version__)')
[ "$rehearse" ] || grep -q "^## \[$version\]" CHANGELOG.md || die "CHANGELOG.md has no heading ## [$version]"
grep -q "^version: $version$" CITATION.cff || die "CITATION.cff: expected the version of fairseq_lskd/__init__.py, $version"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -m build --outdir "$work/dist" .
wheels=("$work"/dist/fairseq_lskd-"$version"-*.whl)
for python in "${pythons[@]}"; do
    echo "release: Python $python"
    venv=$work/venv-$python
    "$(find_python "$python")" -m venv "$venv"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install -c "$root/constraints.txt")
    (cd "$work" && "${pip[@]}" "${wheels[0]}" && "${pip[@]}" --no-deps "$(grep '^fairseq==' "$root/constraints.txt")")
    scripts/smoke.sh "$venv"
    rm -rf "$venv"
done
if [ "$rehearse" ]; then
    echo "release: rehearsed on Python ${pythons[*]}"
    exit
fi
mkdir -p dist
cp "$work"/dist/* dist/
echo "release: passed on Python ${pythons[*]}:"
printf '  %s\n' dist/fairseq_lskd-"$version"*
