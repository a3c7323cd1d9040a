# Completion of kubectl-sts in bash: source <(kubectl-sts completion bash)
# `kubectl sts` is completed by kubectl itself, once `kubectl sts completion --install` was run.

_kubectl_sts() {
    local words=() word i join='' offered=() about=() line directive=0
    # bash takes words apart at = and :, which is undone here.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ($word == [=:]* || $join) && ${#words[@]} -gt 0 ]]; then
            words[${#words[@]} - 1]+=$word
        else
            [[ $word == '~/'* ]] && word=$HOME/${word#'~/'}
            words+=("$word")
        fi
        [[ ${COMP_WORDS[i]} == [=:]* ]] && join=1 || join=
    done
    while IFS= read -r line; do
        case $line in
        :*) directive=${line#:} ;;
        *) offered+=("${line%%$'\t'*}") about+=("${line#*$'\t'}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)

    # Of --flag=a:b bash completes only what follows the last = or :.
    local current=${words[${#words[@]} - 1]} before=
    [[ $current == -*=* ]] && current=${current#*=}
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && before=${current%"${current##*:}"}
    COMPREPLY=()
    for i in "${!offered[@]}"; do
        word=${offered[i]#"$before"}
        # 63: a second TAB, which only shows a list.
        if [[ $COMP_TYPE == 63 && ${#offered[@]} -gt 1 && ${about[i]} != "${offered[i]}" ]]; then
            printf -v word '%-16s (%s)' "$word" "${about[i]}"
            COMPREPLY+=("${word:0:${COLUMNS:-80}}")
        else
            COMPREPLY+=("$word")
        fi
    done
    # The bits are Cobra's: 2 no space, 4 no file names, 16 directories, 32 keep the order (from bash 4.4).
    if ((directive & 16)); then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$current")
    fi
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    ((directive & 32)) && compopt -o nosort 2>/dev/null
    ((directive & 20)) && compopt +o default 2>/dev/null
    return 0
}
complete -o default -F _kubectl_sts kubectl-sts
