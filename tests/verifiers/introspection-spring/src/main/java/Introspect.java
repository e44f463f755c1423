import org.springframework.security.oauth2.server.resource.introspection.BadOpaqueTokenException;
import org.springframework.security.oauth2.server.resource.introspection.OpaqueTokenIntrospector;
import org.springframework.security.oauth2.server.resource.introspection.SpringOpaqueTokenIntrospector;

/** Asks about each token given, with Spring Security; prints who it is of, and what it may do. */
public class Introspect {
    public static void main(String[] tokens) {
        OpaqueTokenIntrospector introspector =
            SpringOpaqueTokenIntrospector.withIntrospectionUri(System.getenv("ISSUER") + "/introspect")
                .clientId(System.getenv("CLIENT_ID")).clientSecret(System.getenv("CLIENT_SECRET"))
                .build();
        for (String token : tokens) {
            try {
                var principal = introspector.introspect(token);
                System.out.println(principal.getAttribute("client_id") + " "
                    + principal.getAttribute("aud") + " " + principal.getAuthorities());
            } catch (BadOpaqueTokenException refused) {
                System.out.println("inactive");
            }
        }
    }
}
