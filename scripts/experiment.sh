#!/usr/bin/env bash
# Run an experiment, from raw text to a table and pictures: experiments/NAME.yaml, or a YAML file of your own.
#
#   scripts/experiment.sh methods                         at the scale smoke: minutes on a CPU, to see that it runs
#   scripts/experiment.sh methods --scale small           real text (others: full, or one of the file's own)
#   scripts/experiment.sh methods --scale small --jobs 3  three trainings at once (default: a GPU each, or two cores)
#   scripts/experiment.sh methods --dry-run               print what would run, and why
#   scripts/experiment.sh methods --scale medium --hours  print how long it will take here: prepares the data, and measures
#                                                         each kind of job for a minute
#   scripts/experiment.sh methods --graph methods.svg     draw the jobs (.svg, .png, .pdf by graphviz; .dot)
#   ... --raw DIR                                         the corpus's files, if they are not to be downloaded
#   ... --recipe my/recipe.sh                             in place of the scale's: of scripts/recipes, or a file
#   ... --name NAME                                       work in runs/NAME (default: the corpus's name)
#   ... --directory DIR                                   put data/ and runs/ there (default: the checkout)
#   ... -- --keep-going --profile experiments/slurm       what follows -- goes to snakemake
#
# Call it again and it goes on where it was stopped, however that was; what nothing has changed for is not run again.
# Results are in runs/NAME/results/EXPERIMENT. It sets up the environment by itself.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

experiment='' scale=smoke jobs='' dry=0 graph='' raw='' name='' recipe='' directory=$root hours=0
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run | -n) dry=1; shift; continue ;;
        --hours) hours=1; shift; continue ;;
    esac
    has_value "$@"
    case $1 in
        --scale) scale=$2; shift 2 ;;
        --jobs) jobs=$2; shift 2 ;;
        --graph) graph=$2; shift 2 ;;
        --raw) raw=$(cd "$2" 2>/dev/null && pwd) || die "--raw $2: no such folder"; shift 2 ;;
        --name) name=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --directory) directory=$2; shift 2 ;;
        --) shift; break ;;
        -*) die "unknown option $1 (see --help; options for snakemake go after --)" ;;
        *)
            [ -z "$experiment" ] || die "unknown option $1 (see --help; one experiment at a time)"
            experiment=$1; shift ;;
    esac
done
need "$experiment" "the name of an experiment"
# Snakemake would read a number in it.
[[ $name =~ ^([A-Za-z].*)?$ ]] || die "--name $name: expected a name that begins with a letter"
# Words of YAML, which Snakemake takes its configuration for.
yaml() { printf "'%s'" "${1//\'/\'\'}"; }
[[ $jobs =~ ^([1-9][0-9]*)?$ ]] || die "--jobs $jobs: expected a number from 1"
case $recipe in */* | *.sh) recipe=$(realpath -- "$recipe") ;; esac
case $experiment in *.yaml | *.yml) experiment=$(realpath -- "$experiment") ;; esac
[ -z "$graph" ] || graph=$(realpath -- "$graph")
"$root/scripts/setup.sh" >&2
PATH=$(cd "$root" && cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH
mkdir -p "$directory"
cd "$directory"

cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    # As CUDA reads it: those before the first that is none, which -1 says by itself.
    gpus=$(tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | sed '/^-/,$d' | grep -c . || true)
else
    gpus=$({ nvidia-smi --list-gpus 2>/dev/null || true; } | grep -c . || true)
fi
# Small models gain little from more threads: two jobs at once, or one a GPU.
[ -n "$jobs" ] || jobs=$((gpus > 0 ? gpus : (cores > 1 ? 2 : 1)))
threads=${OMP_NUM_THREADS:-$(((cores + jobs - 1) / jobs))}

# Mistakes in the YAML end here, in one line. It warns of what the results will lack. Some scales say how long they take
# before they start.
asked=$(python -m fairseq_lskd.experiments "$experiment" "$scale" "$root/experiments" "$name" "$recipe")
first=${asked%% *} results=${asked#* }

# Snakemake's own lock outlives a kill. This one ends with the last process that came from here.
exec 8>.experiment.lock
flock -n 8 || die "an experiment is running in $PWD; wait for its end, or stop it"
call=(snakemake --snakefile "$root/experiments/Snakefile" --cores $((jobs * threads)) --resources gpu="$jobs"
    --nolock --rerun-incomplete --printshellcmds --quiet host
    --config experiment="$(yaml "$experiment")" scale="$(yaml "$scale")" gpus="$gpus" threads="$threads"
    ${name:+name="$(yaml "$name")"} ${recipe:+recipe="$(yaml "$recipe")"} ${raw:+raw="$(yaml "$raw")"})
if [ -n "$graph" ]; then
    "${call[@]}" --quiet all --dag "$@" 2>/dev/null >"$graph.dot" || die "the graph cannot be drawn; try --dry-run"
    case $graph in
        *.dot) mv "$graph.dot" "$graph" ;;
        *)
            if ! command -v dot >/dev/null; then
                cat "$graph.dot" && rm "$graph.dot"
                die "graphviz is not installed, which draws it (on Debian: graphviz); above is the graph for its dot"
            fi
            dot -T"${graph##*.}" "$graph.dot" -o "$graph" && rm "$graph.dot" ;;
    esac
    echo "$graph"
    exit
fi
if [ $dry = 1 ]; then exec "${call[@]}" --dry-run "$@"; fi
# Of a cluster's machines this one knows nothing.
case " $* " in *" --profile "* | *" --executor "*) first='' ;; esac
if [ $hours = 1 ] || [ "$first" = hours ]; then
    "${call[@]}" --until prepare "$@" || die "the data could not be prepared, see above"
    before='' gpu=()
    [ "$gpus" = 0 ] || gpu=(--gpu)
    [ "$gpus" -le 1 ] || before=$root/scripts/on_gpu.sh
    python -m fairseq_lskd.experiments.hours "$experiment" "$scale" --root "$root" --jobs "$jobs" --threads "$threads" \
        --before "$before" "${gpu[@]}" ${name:+--name "$name"} ${recipe:+--recipe "$recipe"}
    [ $hours = 0 ] || exit 0
fi
start=$SECONDS
"${call[@]}" "$@" || die "a step failed or was stopped, see above; mend it and call this again: finished steps are kept"

echo
lskd table "$results/results.json" --over-seeds
echo
lskd table "$results/results.json" --differences
echo
echo "$results, after $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s (this call)."
