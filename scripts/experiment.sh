#!/usr/bin/env bash
# Run an experiment from raw text to tables and figures: experiments/NAME.yaml, or your own YAML file.
#
#   scripts/experiment.sh methods                         at the scale smoke: minutes on a CPU, to check that it runs (a file
#                                                         of your own with one scale: at that scale)
#   scripts/experiment.sh methods --scale small           on real text; other scales are in experiments/scales.yaml
#   scripts/experiment.sh methods --scale small --jobs 3  three jobs at once (default: one per GPU; without a GPU, two)
#   scripts/experiment.sh methods --dry-run               print how many jobs would run, and their commands
#   scripts/experiment.sh methods -- --dry-run            print inputs, outputs and reasons too
#   scripts/experiment.sh methods --scale medium --hours  estimate the hours on this machine: prepare the data, and measure
#                                                         each kind of job for about a minute
#   scripts/experiment.sh methods --graph methods.svg     draw the jobs: .svg, .png or .pdf (with graphviz), or .dot
#   scripts/experiment.sh multilingual --scale cpu        one student of several language pairs: see scripts/multilingual.sh
#   ... --raw DIR                                         folder with the corpus's files, instead of downloading them
#   ... --recipe my/recipe.sh                             recipe instead of the scale's: a name in scripts/recipes, or a file
#   ... --name NAME                                       work in runs/NAME (default: the corpus's name)
#   ... --directory DIR                                   folder for data/ and runs/ (default: the checkout)
#   ... -- --keep-going --profile experiments/slurm       options after -- are passed to snakemake
#
# If it is stopped or killed, call it again to continue. Steps whose inputs have not changed are skipped. Results are in
# runs/NAME/results/EXPERIMENT. The environment is set up automatically.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# It has several bitexts, and options and jobs of its own.
case ${1-} in multilingual) shift; exec "$here/multilingual.sh" "$@" ;; esac
. "$here/lib.sh"

experiment='' scale='' jobs='' dry=0 graph='' raw='' name='' recipe='' directory=$root hours=0
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
        -*) unknown_option "$1" "(see --help; options for snakemake go after --)" ;;
        *)
            [ -z "$experiment" ] || die "unknown option $1 (see --help; one experiment at a time)"
            experiment=$1; shift ;;
    esac
done
need "$experiment" "the name of an experiment"
# Snakemake would parse some other names as numbers.
[[ $name =~ ^([A-Za-z].*)?$ ]] || die "--name $name: expected a name that begins with a letter"
case $experiment in *.yaml | *.yml) experiment=$(realpath -- "$experiment") ;; esac
[ -z "$graph" ] || graph=$(realpath -- "$graph")
start_experiment

# Mistakes in the YAML file are reported here. Some scales estimate the hours before they start.
{ read -r scale first && IFS= read -r results && IFS= read -r data && IFS= read -r prepare; } < <(
    python -m fairseq_lskd.experiments "$experiment" "$scale" "$root/experiments" "$name" "$recipe" "$raw"
) || exit 1

snakemake_call "$root/experiments/Snakefile" experiment="$(yaml "$experiment")" scale="$(yaml "$scale")" \
    ${name:+name="$(yaml "$name")"} ${recipe:+recipe="$(yaml "$recipe")"} ${raw:+raw="$(yaml "$raw")"}
if [ -n "$graph" ]; then
    "${call[@]}" --quiet all --dag "$@" 2>/dev/null >"$graph.dot" || die "the graph cannot be drawn; try --dry-run"
    case $graph in
        *.dot) mv "$graph.dot" "$graph" ;;
        *)
            if ! command -v dot >/dev/null; then
                cat "$graph.dot" && rm "$graph.dot"
                die "--graph $graph needs graphviz, which is not installed (on Debian: apt install graphviz); the graph in dot format is printed above"
            fi
            dot -T"${graph##*.}" "$graph.dot" -o "$graph" && rm "$graph.dot" ;;
    esac
    echo "$graph"
    exit
fi
dry_run_if_asked "$@"
check_prepared "$data" "$prepare"
# No estimate for a cluster, because its machines differ from this one.
case " $* " in *" --profile "* | *" --executor "*) first='' ;; esac
if [ $hours = 1 ] || [ "$first" = hours ]; then
    "${call[@]}" --until prepare "$@" || die "the data could not be prepared, see above"
    before='' gpu=()
    [ "$gpus" = 0 ] || gpu=(--gpu)
    [ "$gpus" -le 1 ] || before=$(printf %q "$root/scripts/on_gpu.sh")
    python -m fairseq_lskd.experiments.hours "$experiment" "$scale" --root "$root" --jobs "$jobs" --threads "$threads" \
        --before "$before" "${gpu[@]}" ${name:+--name "$name"} ${recipe:+--recipe "$recipe"}
    [ $hours = 0 ] || exit 0
fi
run_experiment "$results" "$@"
