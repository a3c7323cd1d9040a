#compdef kubectl-sts
# Completion of kubectl-sts in zsh: source <(kubectl-sts completion zsh), after compinit; or as a file _kubectl-sts in $fpath.
# `kubectl sts` is completed by kubectl itself, once `kubectl sts completion --install` was run.

_kubectl-sts() {
    local -a typed lines offered space
    local line directive=0
    typed=("${(@Q)${(@)words[2,CURRENT-1]}/#\~\//$HOME/}" "${(Q)PREFIX}")
    lines=("${(@f)$("${(Q)words[1]}" __complete "${(@)typed}" 2>/dev/null)}")
    for line in "${(@)lines}"; do
        case $line in
            (:<->) directive=${line#:} ;;
            (?*) line=${line//:/\\:}; offered+=("${line/$'\t'/:}") ;;
        esac
    done
    # The candidates are those of the value alone; the bits are Cobra's: 2 no space, 4 no file names, 16 directories.
    [[ $PREFIX == -*=* ]] && compset -P '*='
    (( directive & 2 )) && space=(-S '')
    (( $#offered )) && _describe -V 'kubectl-sts' offered "${(@)space}"
    if (( directive & 16 )); then
        _files -/
    elif (( !(directive & 4) )); then
        _files
    fi
}

if [[ $funcstack[1] == _kubectl-sts ]]; then
    _kubectl-sts "$@"
else
    compdef _kubectl-sts kubectl-sts
fi
