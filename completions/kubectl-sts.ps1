# Completion of kubectl-sts in PowerShell: kubectl-sts completion powershell | Out-String | Invoke-Expression
# `kubectl sts` is completed by kubectl itself, once `kubectl sts completion --install` was run.

Register-ArgumentCompleter -Native -CommandName 'kubectl-sts', 'kubectl-sts.exe' -ScriptBlock {
    param($WordToComplete, $CommandAst, $CursorPosition)
    $typed = @($CommandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $CursorPosition } |
        ForEach-Object { if ($_.Value) { [string]$_.Value } else { $_.Extent.Text } })
    # Before 7.3 PowerShell drops empty arguments unless they are quoted.
    $last = $WordToComplete
    if ($last -eq '' -and $PSVersionTable.PSVersion -lt [version]'7.3') { $last = '""' }
    $lines = @(& $CommandAst.CommandElements[0].Extent.Text __complete @typed $last 2>$null)
    # The candidates are those of the value alone.
    $before = if ($WordToComplete -match '^-[^=]*=') { $Matches[0] } else { '' }
    foreach ($line in $lines) {
        # The directive: without candidates PowerShell offers files of its own accord.
        if ($line -match '^:\d+$') { continue }
        $value, $about = $line -split "`t", 2
        if (-not $about) { $about = $value }
        $text = $before + $value
        if ($text -match '[\s''"$`;&|(){}<>@,]') { $text = "'" + ($text -replace "'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $about)
    }
}
