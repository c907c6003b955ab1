// Requests wait while no backend serves, instead of failing at their second look.
// A folder of this name with this file in it, in SwarmUI's src/Extensions/, is built with SwarmUI.
// Tried with SwarmUI 0.9.8.2 (commit 062407c7); README.md has the figures, and how to try it.
using System.Linq;
using SwarmUI.Backends;
using SwarmUI.Core;

namespace Ebbflow.WaitingRoom;

public class WaitingRoomExtension : Extension
{
    public override void OnInit()
    {
        BackendHandler.CanTryFindNow.Add(request =>
        {
            if (request.Handler.EnumerateT2IBackends.Any(entry => entry.Backend.IsEnabled
                && !entry.Backend.ShutDownReserve && entry.Backend.MaxUsages > 0 && entry.Backend.CanLoadModels
                && entry.Backend.Status == BackendStatus.RUNNING))
            {
                return true;
            }
            // Beside SwarmUI's own auto-scaling backend, which launches when a request asks for more:
            // _ = request.Handler.TryToScaleANewBackend(true);
            return false;
        });
    }
}
