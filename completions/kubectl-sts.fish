# Completion of kubectl-sts in fish: kubectl-sts completion fish > ~/.config/fish/completions/kubectl-sts.fish
# `kubectl sts` is completed by kubectl itself, once `kubectl sts completion --install` was run.

function __kubectl_sts_complete
    set -l typed (commandline -opc)
    set -l program $typed[1]
    set -e typed[1]
    set -l current (commandline -ct)
    set -l before (string match -r -- '^-[^=]*=' "$current")
    set -l directive 0
    for line in ($program __complete $typed "$current" 2>/dev/null)
        if string match -qr -- '^:[0-9]+$' "$line"
            set directive (string sub -s 2 -- "$line")
        else
            # The candidates are those of the value alone.
            echo "$before$line"
        end
    end
    # The bits are Cobra's: 4 no file names, 16 directories.
    set -l value (string replace -r -- '^-[^=]*=' '' "$current")
    if test (math "floor($directive / 16) % 2") -eq 1
        printf "$before%s\n" (__fish_complete_directories "$value" '')
    else if test (math "floor($directive / 4) % 2") -eq 0
        printf "$before%s\n" (__fish_complete_path "$value")
    end
end

complete -c kubectl-sts -e
complete -c kubectl-sts -f -k -a '(__kubectl_sts_complete)'
