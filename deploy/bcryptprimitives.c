/* Wine of Debian 12 has no bcryptprimitives.dll, of which Rust needs this one function; Windows has it. Only for
   deploy/try-packages: no package contains it. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID data, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return SystemFunction036(data, (ULONG)length);
}
